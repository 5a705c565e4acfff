//! Plan messages for the servers of Ballista that are checked before they are decoded. The bytes are the same as those
//! of DataFusion's messages.

use std::sync::Arc;

use ballista_core::serde::BallistaCodec;
use bytes::BufMut;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use crate::guard::{caught, guarded};
use crate::tables_check::CheckedConverter;

/// A plan message. Decoding does not panic or abort the process, even for malformed bytes.
#[derive(Clone, Debug)]
pub struct Checked<M>(M);

/// A logical plan's message.
pub type LogicalMessage = Checked<LogicalPlanNode>;

/// A physical plan's message.
pub type PhysicalMessage = Checked<PhysicalPlanNode>;

/// The decoders for the servers of Ballista.
pub type CheckedCodec = BallistaCodec<LogicalMessage, PhysicalMessage>;

impl AsLogicalPlan for LogicalMessage {
    fn try_decode(buf: &[u8]) -> Result<Self> {
        guarded("logical plan", buf, || <LogicalPlanNode as AsLogicalPlan>::try_decode(buf)).map(Self)
    }

    fn try_encode<B: BufMut>(&self, buf: &mut B) -> Result<()> {
        self.0.try_encode(buf)
    }

    fn try_into_logical_plan(&self, ctx: &TaskContext, codec: &dyn LogicalExtensionCodec) -> Result<LogicalPlan> {
        caught("logical plan", || self.0.try_into_logical_plan(ctx, codec))
    }

    fn try_from_logical_plan(plan: &LogicalPlan, codec: &dyn LogicalExtensionCodec) -> Result<Self> {
        LogicalPlanNode::try_from_logical_plan(plan, codec).map(Self)
    }
}

impl AsExecutionPlan for PhysicalMessage {
    fn try_decode(buf: &[u8]) -> Result<Self> {
        guarded("plan", buf, || <PhysicalPlanNode as AsExecutionPlan>::try_decode(buf)).map(Self)
    }

    fn try_encode<B: BufMut>(&self, buf: &mut B) -> Result<()> {
        self.0.try_encode(buf)
    }

    fn try_into_physical_plan(
        &self,
        ctx: &TaskContext,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = PhysicalPlanDecodeContext::new(ctx, codec);
        caught("plan", || CheckedConverter.proto_to_execution_plan(&self.0, &context))
    }

    fn try_from_physical_plan(plan: Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Self> {
        PhysicalPlanNode::try_from_physical_plan(plan, codec).map(Self)
    }
}
