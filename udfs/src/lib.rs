//! The SQL functions and tables of Tusk, which are available on every node.
//!
//! * [`pixels`]: images from bytes to pixels, shared by the functions and by training
//! * [`image`]: SQL functions on images
//! * [`metrics`]: SQL aggregates that evaluate classifiers
//! * [`predict`]: published models as SQL functions
//! * [`images_table`]: `CREATE EXTERNAL TABLE ... STORED AS IMAGES`
//! * [`session`]: registers all of them in a session

pub mod image;
pub mod images_table;
pub mod metrics;
pub mod predict;
pub mod session;
