//! A worker's task, and what the tasks of an engine share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::ids::WorkerId;
use tusk_core::job::TrainTask;

use crate::runtime::checkpoint_cache::CheckpointCache;
use crate::runtime::devices::DevicePool;
use crate::runtime::tasks::Tasks;
use crate::shard::ShardCache;
use crate::train::parameter_client::SchedulerAddress;

/// What the tasks of an engine have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cache: Arc<ShardCache>,
    pub(crate) codec: Arc<dyn PhysicalExtensionCodec>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) devices: Arc<DevicePool>,
    /// The scheduler whose tasks these are.
    pub(crate) scheduler: OnceLock<SchedulerAddress>,
    pub(crate) checkpoint_cache: CheckpointCache,
}

/// One worker's task.
pub(crate) struct Worker {
    pub(crate) engine: Arc<Shared>,
    pub(crate) task: Arc<TrainTask>,
    pub(crate) id: WorkerId,
    /// Set when nobody waits for the answer any more.
    pub(crate) cancelled: Arc<AtomicBool>,
}
