//! The data plane: decodes images into shards, trains and scores with libtorch. The only crate with tch.
//!
//! From the top down, each module uses only those below it:
//!
//! * `node`: [`run`] is `tusk-executor`; [`Plugin`] and [`install`] put Tusk into any executor of Ballista
//! * `job`: [`TorchEngine`] finds the worker's shard in the cache or builds it, then one thread does the work of the job on a
//!   device of the pool
//! * `train`: the steps of an epoch; `predict`: scores for validation and prediction
//! * `input`: batches of images, normalised and augmented; `nets`: layers, computed with libtorch
//! * `shard`: the decoded images of a worker
//! * `runtime`: devices, running tasks, metrics, threads. The feature `jemalloc`, on by default, replaces the process's malloc:
//!   training is half as fast again with it.

#[doc(hidden)]
pub mod bench;
mod error;
mod input;
mod job;
mod nets;
mod node;
mod predict;
mod runtime;
mod shard;
#[cfg(test)]
mod testing;
mod train;

pub use error::{Error, Result};
pub use job::engine::TorchEngine;
pub use node::embedded::{EmbeddedExecutor, ExecutorSettings};
pub use node::error::ProcessError;
pub use node::plugin::{Plugin, PluginSettings, install};
pub use node::process::run;
pub use node::reporter::{Identity, start_reporting};
pub use node::{flags, version};
pub use predict::predictor::TorchPredictor;
pub use runtime::devices::{DeviceLease, DevicePool};
pub use shard::CacheLimits;
