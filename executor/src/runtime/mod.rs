//! What tasks share in one process: devices, running tasks, metrics, checkpoints, threads, memory.

pub(crate) mod checkpoint_cache;
pub(crate) mod devices;
#[cfg(feature = "jemalloc")]
mod memory;
pub(crate) mod metrics;
pub(crate) mod parallel;
pub(crate) mod tasks;
