//! Checks tables in plans before they are decoded.
//!
//! A plan may contain tables (an in-memory table, a literal list) as Arrow IPC messages, which declare the length of
//! their body. The reader of Arrow allocates this length before it reads, and a failed allocation aborts the process.
//! The declared lengths are therefore compared with the available bytes before decoding.

use std::sync::Arc;

use arrow::ipc::root_as_message;
use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    DefaultPhysicalProtoConverter, PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};

use crate::error::Error;

/// The start of an IPC message.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// The nesting limit of prost.
const NESTING_MAX: usize = 100;

/// Returns an error if a table in protobuf bytes declares more bytes than it has, or if it is compressed. Compressed
/// tables declare their decompressed size, and plans of Tusk are not compressed.
pub(crate) fn check_tables(message: &[u8]) -> Result<(), &'static str> {
    check(message, NESTING_MAX)
}

fn check(message: &[u8], nesting: usize) -> Result<(), &'static str> {
    check_field(message)?;
    if nesting == 0 {
        return Ok(());
    }
    let mut rest = message;
    while let Some((field, after)) = next_field(rest) {
        check(field, nesting - 1)?;
        rest = after;
    }
    Ok(())
}

/// Returns the content of the next field of a message (empty if it is not bytes) and the rest, or `None` at the end or
/// if the bytes are not a message.
fn next_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = varint(bytes)?;
    match key & 7 {
        0 => varint(rest).map(|(_, rest)| (&rest[..0], rest)),
        1 => rest.get(8..).map(|rest| (&rest[..0], rest)),
        2 => {
            let (length, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(length).ok()?)
        }
        5 => rest.get(4..).map(|rest| (&rest[..0], rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Checks bytes that may be a literal's table, whose header travels without its length and whose body has a field of
/// its own, or a stream.
fn check_field(field: &[u8]) -> Result<(), &'static str> {
    match table_message(field) {
        Some(message) if is_compressed(message) => Err(COMPRESSED),
        Some(_) => Ok(()),
        None if begins_stream(field) => check_stream(field),
        None => Ok(()),
    }
}

/// Whether a field begins as a stream of tables does. What begins alike and is none, as a packed list of numbers may,
/// is no table to any reader; where a stream must be, [`CheckedConverter`] asks for one.
fn begins_stream(field: &[u8]) -> bool {
    let header =
        field.strip_prefix(&CONTINUATION).and_then(|rest| rest.split_first_chunk()).and_then(|(length, rest)| {
            let length = usize::try_from(i32::from_le_bytes(*length)).ok()?;
            rest.get(..length)
        });
    header.and_then(table_message).is_some()
}

/// Checks bytes that Arrow will read as a stream of IPC messages. The oldest form of the format is refused, as its
/// messages begin with nothing that tells them.
fn check_stream(stream: &[u8]) -> Result<(), &'static str> {
    let mut rest = stream;
    while !rest.is_empty() {
        let (length, after) =
            rest.strip_prefix(&CONTINUATION).and_then(|rest| rest.split_first_chunk()).ok_or(NO_TABLE)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| NO_TABLE)?;
        if length == 0 {
            // The end of the stream.
            return Ok(());
        }
        let (header, body) = after.split_at_checked(length).ok_or(TOO_SHORT)?;
        let message = table_message(header).ok_or(NO_TABLE)?;
        if is_compressed(message) {
            return Err(COMPRESSED);
        }
        let length = usize::try_from(message.bodyLength()).map_err(|_| NO_TABLE)?;
        rest = body.split_at_checked(length).ok_or(TOO_SHORT)?.1;
    }
    Ok(())
}

const NO_TABLE: &str = "a table in it is not valid";
const TOO_SHORT: &str = "a table in it declares more bytes than it has";
const COMPRESSED: &str = "a table in it is compressed";

fn table_message(bytes: &[u8]) -> Option<arrow::ipc::Message<'_>> {
    // Shorter bytes are no flatbuffer; most fields of a plan end here.
    if bytes.len() < 16 { None } else { root_as_message(bytes).ok() }
}

fn is_compressed(message: arrow::ipc::Message<'_>) -> bool {
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    batch.is_some_and(|batch| batch.compression().is_some())
}

/// Decodes plans as DataFusion does, after a look at their in-memory tables: of those it is known that they are
/// streams.
pub(crate) struct CheckedConverter;

impl PhysicalProtoConverterExtension for CheckedConverter {
    fn proto_to_execution_plan(
        &self,
        proto: &PhysicalPlanNode,
        ctx: &PhysicalPlanDecodeContext<'_>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if let Some(PhysicalPlanType::MemoryScan(scan)) = &proto.physical_plan_type {
            let checked = scan.partitions.iter().try_for_each(|partition| check_stream(partition));
            checked.map_err(|reason| Error::Wire { what: "plan", reason: reason.to_owned() })?;
        }
        self.default_proto_to_execution_plan(proto, ctx)
    }

    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> DataFusionResult<PhysicalPlanNode> {
        DefaultPhysicalProtoConverter {}.execution_plan_to_proto(plan, codec)
    }

    fn proto_to_physical_expr(
        &self,
        proto: &PhysicalExprNode,
        input_schema: &Schema,
        ctx: &PhysicalPlanDecodeContext<'_>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        self.default_proto_to_physical_expr(proto, input_schema, ctx)
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> DataFusionResult<PhysicalExprNode> {
        DefaultPhysicalProtoConverter {}.physical_expr_to_proto(expr, codec)
    }
}
