//! The functions that Tusk adds to SQL, and the tables it adds: everything that a query may use on every node.

pub mod image;
pub mod images_table;
pub mod metrics;
pub mod pixels;
