//! The data plane: decodes images into shards, trains and scores with libtorch.
//!
//! The only crate with tch. A task walks through it like this: [`TorchEngine`] finds the worker's shard in the cache or
//! builds it from the table (`shard`), then one thread does the work of its job (`job`), such as training an epoch
//! (`trainer`) with a net (`nets`), an input pipeline (`augment`) and an optimizer (`optimizer`), on a device of the pool
//! (`devices`).
//!
//! The feature `jemalloc`, on by default, replaces the process's malloc (`memory`): training is half as fast again with it.
//!
//! [`Plugin`] and [`install`] put this into any executor of Ballista; [`run`] is `tusk-executor` (`process`).

mod activity;
mod augment;
#[cfg(test)]
mod augment_amounts_tests;
#[cfg(test)]
mod augment_tests;
mod average;
#[doc(hidden)]
pub mod bench;
mod connections;
mod devices;
mod doors;
mod embedded;
mod engine;
mod error;
mod feed;
#[cfg(test)]
mod feed_tests;
mod figures;
pub mod flags;
mod job;
mod last_state;
#[cfg(feature = "jemalloc")]
mod memory;
mod mixup;
#[cfg(test)]
mod mixup_tests;
mod nets;
mod optimizer;
mod parallel;
mod parameters;
#[cfg(test)]
mod parameters_tests;
mod plugin;
mod predictor;
mod process;
mod reporter;
mod scorer;
#[cfg(test)]
mod scorer_tests;
mod session;
#[cfg(test)]
mod session_tests;
mod shard;
mod stage;
#[cfg(test)]
mod testing;
mod trainer;
#[cfg(test)]
mod trainer_tests;
pub mod version;

pub use devices::{DeviceLease, DevicePool};
pub use embedded::{EmbeddedExecutor, ExecutorSettings};
pub use engine::TorchEngine;
pub use error::{Error, Result};
pub use plugin::{Plugin, PluginSettings, install};
pub use predictor::TorchPredictor;
pub use process::{ProcessError, run};
pub use reporter::{Identity, start_reporting};
pub use shard::CacheLimits;
