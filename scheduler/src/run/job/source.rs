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
    /// The checksum of the encoded plan. It identifies the shards of the source.
    pub(super) checksum: String,
}

impl Source {
    /// Creates a source from a plan.
    ///
    /// # Errors
    /// If the plan cannot be encoded.
    pub(crate) fn new(plan: &Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Self> {
        Ok(Self { plan: Arc::clone(plan), checksum: checksum(&encode_plan(Arc::clone(plan), codec)?) })
    }
}
