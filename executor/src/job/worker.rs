//! Defines a worker's task and the state that all tasks of an engine share.

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

/// The state that all tasks of an engine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cache: Arc<ShardCache>,
    pub(crate) codec: Arc<dyn PhysicalExtensionCodec>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) devices: Arc<DevicePool>,
    /// The scheduler that sends the tasks.
    pub(crate) scheduler: OnceLock<SchedulerAddress>,
    pub(crate) checkpoint_cache: CheckpointCache,
}

/// One worker's task.
pub(crate) struct Worker {
    pub(crate) engine: Arc<Shared>,
    pub(crate) task: Arc<TrainTask>,
    pub(crate) id: WorkerId,
    /// Set when the task output is no longer needed.
    pub(crate) cancelled: Arc<AtomicBool>,
}
