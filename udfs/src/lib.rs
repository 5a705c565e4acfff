//! The functions that Tusk adds to SQL, and the tables it adds: everything that a query may use on every node.
//!
//! * [`pixels`]: images from bytes to pixels, shared by the functions and by training
//! * [`image`]: SQL functions on images
//! * [`metrics`]: SQL aggregates that judge a classifier
//! * [`predict`]: published models as SQL functions
//! * [`images_table`]: `CREATE EXTERNAL TABLE ... STORED AS IMAGES`
//! * [`session`]: the one place where all of this is registered

pub mod image;
pub mod images_table;
pub mod metrics;
pub mod predict;
pub mod session;
