//! Tusk: train and use image classifiers with SQL on a Ballista cluster.
//!
//! ```no_run
//! # async fn run() -> tusk::Result<()> {
//! let tusk = tusk::TuskContext::embedded().await?;
//! tusk.sql("CREATE EXTERNAL TABLE xrays STORED AS IMAGES LOCATION 'chest_xray/train/'").await?.collect().await?;
//! tusk.sql("CREATE MODEL pneumonia USING cnn TRAIN ON xrays").await?.collect().await?;
//! println!("{}", tusk.sql("SELECT path, predict('pneumonia', image) FROM xrays LIMIT 3").await?.to_table().await?);
//! # Ok(())
//! # }
//! ```
//!
//! * [`TuskContext`]: SQL, tables and models, on an embedded or a remote cluster
//! * `ImageClassifier`, `Model`: the same from Rust, with an API like that of Spark ML
//! * [`metrics`]: the metrics of an `Evaluation`
//! * [`ingest`]: converts folders of images to Parquet
//! * [`synthetic`]: synthetic X-rays, for demos and tests
//!
//! The feature `embedded`, on by default, adds a cluster in this process. It needs libtorch. A build without it is a
//! client for remote clusters: SQL, models and ingest.

#[cfg(feature = "embedded")]
mod classifier;
#[cfg(feature = "embedded")]
mod cluster;
mod context;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
pub mod ingest;
mod remote;
pub mod synthetic;

#[cfg(feature = "embedded")]
pub use classifier::{ImageClassifier, Model};
pub use context::{ContextOptions, TuskContext};
pub use error::{Error, Result, Results};
pub use remote::Credentials;
pub use tusk_core::event::OnEvent;
pub use tusk_core::metrics;
#[cfg(feature = "embedded")]
pub use tusk_executor::CacheLimits;
#[cfg(feature = "embedded")]
pub use tusk_scheduler::Evaluation;
