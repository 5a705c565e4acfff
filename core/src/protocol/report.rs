//! The report that an executor sends to the scheduler once a second: its devices, shards and progress.

use serde::{Deserialize, Serialize};

use crate::event::Progress;
use crate::ids::{RunId, WorkerId};

/// Maximum number of shards in a report.
pub const SHARDS_MAX: usize = 1024;

/// The state of an executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutorReport {
    /// [`super::WIRE_VERSION`].
    pub wire_version: u32,
    /// The Ballista id of the executor.
    pub executor_id: String,
    /// The address for other processes.
    pub host: String,
    /// The version of Tusk.
    pub version: String,
    /// The devices. Each runs one worker at a time.
    pub devices: Vec<DeviceReport>,
    /// Threads that a worker may use.
    pub threads_per_device: u32,
    /// Keys of the shards in its cache, see [`crate::job::TrainTask::shard_key`]; the most recently used first.
    pub shards: Vec<String>,
    /// The progress of its tasks.
    pub progress: Vec<Progress>,
    /// Totals since the executor started.
    pub totals: ExecutorTotals,
}

/// A device of an executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// `cpu`, `cuda:0` and so on.
    pub name: String,
    /// The current task.
    pub busy: Option<DeviceWork>,
}

/// A task on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceWork {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: WorkerId,
    /// The epoch.
    pub epoch: u32,
}

/// Totals of an executor since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutorTotals {
    /// Images decoded into shards.
    pub images_decoded: u64,
    /// Images trained on.
    pub images_trained: u64,
    /// Images scored, or measured to adapt a model.
    pub images_scored: u64,
    /// Tasks whose shard was in the cache.
    pub shard_hits: u64,
    /// Tasks whose shard had to be built.
    pub shard_misses: u64,
    /// Bytes of shards in memory.
    pub shard_memory_bytes: u64,
    /// Bytes of shards on disk.
    pub shard_disk_bytes: u64,
}
