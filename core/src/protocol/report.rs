//! What an executor tells the scheduler about itself, once a second: its devices, the shards it holds, its progress.

use serde::{Deserialize, Serialize};

use crate::event::Progress;
use crate::ids::{RunId, WorkerId};

/// The most shards that one report names.
pub const SHARDS_MAX: usize = 1024;

/// One executor, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutorReport {
    /// [`super::WIRE_VERSION`].
    pub wire_version: u32,
    /// The id under which Ballista knows it.
    pub executor_id: String,
    /// Its address for others.
    pub host: String,
    /// Its version of Tusk.
    pub version: String,
    /// What it trains on: one worker each.
    pub devices: Vec<DeviceReport>,
    /// Threads that a worker may use.
    pub threads_per_device: u32,
    /// Keys of the shards in its cache, see [`crate::job::TrainTask::shard_key`]; the most recently used first.
    pub shards: Vec<String>,
    /// How far its tasks are.
    pub progress: Vec<Progress>,
    /// Totals since it started.
    pub totals: ExecutorTotals,
}

/// A device of an executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// `cpu`, `cuda:0` and so on.
    pub name: String,
    /// What it works on.
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
    /// Images scored.
    pub images_scored: u64,
    /// Tasks that found their shard.
    pub shard_hits: u64,
    /// Tasks that had to build it.
    pub shard_misses: u64,
    /// Bytes of shards in memory.
    pub shard_memory_bytes: u64,
    /// Bytes of shards on disk.
    pub shard_disk_bytes: u64,
}
