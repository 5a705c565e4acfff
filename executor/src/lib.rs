//! Decodes images into shards, trains nets and scores images with libtorch. It is the only crate that depends on tch.
//!
//! The modules, from the top down. Each module uses only the modules below it:
//!
//! * `node`: [`run`] is `tusk-executor`; [`Plugin`] and [`install`] put Tusk into any executor of Ballista
//! * `job`: [`TorchEngine`] gets the worker's shard from the cache or builds it, then one thread runs the job on a
//!   device of the pool
//! * `train`: trains epochs; `predict`: computes scores for validation and prediction
//! * `input`: assembles, normalises and augments batches of images; `nets`: computes layers with libtorch
//! * `shard`: stores the decoded images of a worker
//! * `runtime`: devices, running tasks, metrics, threads. The feature `jemalloc`, on by default, replaces the process's
//!   malloc, which makes training about 1.5 times as fast.

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
