//! The data plane: decodes images into shards, trains and scores with libtorch.
//!
//! The only crate with tch. A task walks through it like this: [`TorchEngine`] finds the worker's shard in the cache or
//! builds it from the table (`shard`), then one thread trains an epoch or scores rows (`trainer`) with a net (`nets`),
//! an input pipeline (`augment`) and an optimizer (`optimizer`).

mod augment;
#[cfg(test)]
mod augment_tests;
mod embedded;
mod engine;
mod error;
mod nets;
mod optimizer;
mod predictor;
mod schedule;
mod session;
#[cfg(test)]
mod session_tests;
mod shard;
#[cfg(test)]
mod testing;
mod trainer;
#[cfg(test)]
mod trainer_tests;

pub use embedded::{EmbeddedExecutor, ExecutorSettings};
pub use engine::TorchEngine;
pub use error::{Error, Result};
pub use predictor::TorchPredictor;
pub use shard::CacheLimits;
