//! The rows of a run.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::codec::encode_plan;
use tusk_core::state::checksum;

use crate::error::Result;

/// Rows that jobs read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Of the plan as it is written: what its shards are known by.
    pub(super) checksum: String,
}

impl Source {
    /// The rows of a plan.
    ///
    /// # Errors
    /// When it cannot travel.
    pub(crate) fn new(plan: &Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Self> {
        Ok(Self { plan: Arc::clone(plan), checksum: checksum(&encode_plan(Arc::clone(plan), codec)?) })
    }
}
