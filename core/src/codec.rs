//! Encodes plans: the operators of Tusk in their own messages, all others with the codec of Ballista.
//!
//! Other crates add their operators and tables as [`Extension`]s, for example the table over a folder of images.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension as LogicalExtension, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;

use crate::guard::{guarded, wire};
use crate::job::TrainTask;
use crate::manifest::WORKERS_MAX;
use crate::physical::{TaskUnionExec, TrainExec};
use crate::plans::PhysicalMessage;

/// An encoded operator.
#[derive(Clone, PartialEq, Message)]
struct OperatorMessage {
    #[prost(oneof = "OperatorKind", tags = "1, 2, 3, 4")]
    kind: Option<OperatorKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OperatorKind {
    #[prost(message, tag = "1")]
    Train(TrainMessage),
    #[prost(message, tag = "2")]
    Extension(ExtensionMessage),
    #[prost(bytes, tag = "3")]
    Ballista(Vec<u8>),
    #[prost(message, tag = "4")]
    Union(UnionMessage),
}

/// A [`TaskUnionExec`] has only children, which are encoded separately.
#[derive(Clone, Copy, PartialEq, Message)]
struct UnionMessage {}

#[derive(Clone, PartialEq, Message)]
struct TrainMessage {
    /// The task as JSON.
    #[prost(bytes, tag = "1")]
    task: Vec<u8>,
    /// The source as a DataFusion message.
    #[prost(bytes, tag = "2")]
    source: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ExtensionMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes, tag = "2")]
    body: Vec<u8>,
}

/// An encoded table.
#[derive(Clone, PartialEq, Message)]
struct TableMessage {
    #[prost(oneof = "TableKind", tags = "1, 2")]
    kind: Option<TableKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum TableKind {
    #[prost(message, tag = "1")]
    Extension(ExtensionMessage),
    #[prost(bytes, tag = "2")]
    Ballista(Vec<u8>),
}

/// The operators and tables of another crate.
pub trait Extension: Debug + Send + Sync {
    /// A unique name.
    fn name(&self) -> &'static str;

    /// Encodes an operator, or returns `None` if it does not belong to this extension. Children are encoded separately.
    ///
    /// # Errors
    /// Returns an error if it belongs to this extension and cannot be encoded.
    fn encode_operator(&self, node: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>>;

    /// Decodes an operator.
    ///
    /// # Errors
    /// Returns an error if the message does not belong to this extension.
    fn decode_operator(&self, body: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>>;

    /// Encodes a table, or returns `None` if it does not belong to this extension.
    ///
    /// # Errors
    /// Returns an error if it belongs to this extension and cannot be encoded.
    fn encode_table(&self, table: &Arc<dyn TableProvider>) -> Result<Option<Vec<u8>>>;

    /// Decodes a table.
    ///
    /// # Errors
    /// Returns an error if the message does not belong to this extension.
    fn decode_table(&self, body: &[u8]) -> Result<Arc<dyn TableProvider>>;
}

/// The codec of logical plans.
#[derive(Debug, Default)]
pub struct TuskLogicalCodec {
    extensions: Vec<Arc<dyn Extension>>,
    ballista: BallistaLogicalExtensionCodec,
}

impl TuskLogicalCodec {
    /// Makes a codec with these extensions.
    #[must_use]
    pub fn new(extensions: Vec<Arc<dyn Extension>>) -> Self {
        Self { extensions, ballista: BallistaLogicalExtensionCodec::default() }
    }
}

impl LogicalExtensionCodec for TuskLogicalCodec {
    fn try_decode(&self, buf: &[u8], inputs: &[LogicalPlan], ctx: &TaskContext) -> Result<LogicalExtension> {
        guarded("logical operator", buf, || self.ballista.try_decode(buf, inputs, ctx))
    }

    fn try_encode(&self, node: &LogicalExtension, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode(node, buf)
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        table_ref: &TableReference,
        schema: SchemaRef,
        ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        guarded("table", buf, || match TableMessage::decode(buf).map_err(|e| wire("table", &e))?.kind {
            Some(TableKind::Extension(message)) => {
                find(&self.extensions, &message.name, "table")?.decode_table(&message.body)
            }
            Some(TableKind::Ballista(bytes)) => self.ballista.try_decode_table_provider(&bytes, table_ref, schema, ctx),
            None => Err(wire("table", &"its kind is unknown to this version").into()),
        })
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        let mut kind = None;
        for extension in &self.extensions {
            if let Some(body) = extension.encode_table(&node)? {
                kind = Some(TableKind::Extension(ExtensionMessage { name: extension.name().to_owned(), body }));
            }
        }
        let kind = match kind {
            Some(kind) => kind,
            None => {
                let mut bytes = Vec::new();
                self.ballista.try_encode_table_provider(table_ref, node, &mut bytes)?;
                TableKind::Ballista(bytes)
            }
        };
        TableMessage { kind: Some(kind) }.encode(buf).map_err(|e| wire("table", &e).into())
    }

    fn try_decode_file_format(&self, buf: &[u8], ctx: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        guarded("file format", buf, || self.ballista.try_decode_file_format(buf, ctx))
    }

    fn try_encode_file_format(&self, buf: &mut Vec<u8>, node: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.ballista.try_encode_file_format(buf, node)
    }
}

/// The codec of physical plans.
#[derive(Debug, Default)]
pub struct TuskPhysicalCodec {
    extensions: Vec<Arc<dyn Extension>>,
    ballista: BallistaPhysicalExtensionCodec,
    /// Whether this codec decodes the source of a training operator, which cannot contain another one.
    is_inside_source: bool,
}

impl TuskPhysicalCodec {
    /// Makes a codec with these extensions.
    #[must_use]
    pub fn new(extensions: Vec<Arc<dyn Extension>>) -> Self {
        Self { extensions, ballista: BallistaPhysicalExtensionCodec::default(), is_inside_source: false }
    }

    /// Decodes a training operator.
    ///
    /// The source is a message of its own, so the nesting limit of prost does not cover it. A source that contains a
    /// training operator is refused, because a short message with thousands of nested operators would overflow the
    /// stack and abort the process.
    fn train_exec(
        &self,
        message: &TrainMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let refuse = |reason: &dyn Display| Err(wire("training task", reason).into());
        if self.is_inside_source {
            return refuse(&"it is nested in the source of another");
        }
        let task: TrainTask = serde_json::from_slice(&message.task).map_err(|e| wire("training task", &e))?;
        if !(1..=WORKERS_MAX).contains(&task.workers) {
            return refuse(&format!("it is for {} workers", task.workers));
        }
        task.definition.check_net().map_err(|reason| wire("training task", &reason))?;
        let [workers] = inputs else { return refuse(&format!("it has {} inputs", inputs.len())) };
        let inside = Self { is_inside_source: true, ..Self::new(self.extensions.clone()) };
        let source = decode_plan(&message.source, ctx, &inside)?;
        Ok(Arc::new(TrainExec::with_workers(Arc::new(task), source, Arc::clone(workers))))
    }

    fn kind_of(
        &self,
        node: Arc<dyn ExecutionPlan>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<OperatorKind> {
        if let Some(train) = node.downcast_ref::<TrainExec>() {
            let task = serde_json::to_vec(train.task().as_ref()).map_err(|e| wire("training task", &e))?;
            let source = encode_plan(Arc::clone(train.source()), self)?;
            return Ok(OperatorKind::Train(TrainMessage { task, source }));
        }
        if node.is::<TaskUnionExec>() {
            return Ok(OperatorKind::Union(UnionMessage {}));
        }
        for extension in &self.extensions {
            if let Some(body) = extension.encode_operator(&node)? {
                return Ok(OperatorKind::Extension(ExtensionMessage { name: extension.name().to_owned(), body }));
            }
        }
        let mut bytes = Vec::new();
        self.ballista.try_encode(node, &mut bytes, proto_converter)?;
        Ok(OperatorKind::Ballista(bytes))
    }
}

impl PhysicalExtensionCodec for TuskPhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        guarded("operator", buf, || match OperatorMessage::decode(buf).map_err(|e| wire("operator", &e))?.kind {
            Some(OperatorKind::Train(message)) => self.train_exec(&message, inputs, ctx),
            Some(OperatorKind::Union(UnionMessage {})) => Ok(Arc::new(TaskUnionExec::of_children(inputs.to_vec())?)),
            Some(OperatorKind::Extension(message)) => {
                find(&self.extensions, &message.name, "operator")?.decode_operator(&message.body, inputs)
            }
            Some(OperatorKind::Ballista(bytes)) => self.ballista.try_decode(&bytes, inputs, ctx, proto_converter),
            None => Err(wire("operator", &"its kind is unknown to this version").into()),
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = Some(self.kind_of(node, proto_converter)?);
        OperatorMessage { kind }.encode(buf).map_err(|e| wire("operator", &e).into())
    }
}

/// Encodes a physical plan.
///
/// # Errors
/// Returns an error if an operator cannot be encoded.
pub fn encode_plan(plan: Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Vec<u8>> {
    Ok(PhysicalPlanNode::try_from_physical_plan(plan, codec)?.encode_to_vec())
}

/// Decodes a physical plan.
///
/// # Errors
/// Returns an error if the bytes are not a plan, or if the plan needs something that this process does not have.
pub fn decode_plan(
    bytes: &[u8],
    ctx: &TaskContext,
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Arc<dyn ExecutionPlan>> {
    PhysicalMessage::try_decode(bytes)?.try_into_physical_plan(ctx, codec)
}

fn find<'a>(extensions: &'a [Arc<dyn Extension>], name: &str, what: &'static str) -> Result<&'a dyn Extension> {
    let found = extensions.iter().find(|e| e.name() == name);
    found.map(|e| e.as_ref()).ok_or_else(|| wire(what, &format!("this process has no extension '{name}'")).into())
}
