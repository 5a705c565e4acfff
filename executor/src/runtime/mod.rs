//! The state that the tasks of one process share: devices, running tasks, metrics, the checkpoint cache, threads,
//! memory.

pub(crate) mod checkpoint_cache;
pub(crate) mod devices;
#[cfg(feature = "jemalloc")]
mod memory;
pub(crate) mod metrics;
pub(crate) mod parallel;
pub(crate) mod tasks;
