//! Task outputs: the rows that a worker returns. The first row is its report. The others are named arrays, split into
//! pieces.
//!
//! A gRPC message has a size limit (16 MiB by default), and tensors may be larger (VGG16 has one of 411 MB). A row
//! therefore has at most [`MESSAGE_BYTES_MAX`] bytes of one array.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, UInt32Array};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::job::Report;
use crate::state::NamedTensor;

/// Maximum bytes of an array in one row.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The name of the row with the report.
pub const REPORT: &str = "#report";

/// One row of a task output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskOutput<'a> {
    /// The worker.
    pub worker: WorkerId,
    /// The name of the array, or [`REPORT`].
    pub name: &'a str,
    /// The index of the piece, from 0.
    pub piece: u32,
    /// The bytes: little-endian numbers, or the report as JSON.
    pub data: &'a [u8],
}

/// Returns the schema of task outputs.
#[must_use]
pub fn output_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("worker", DataType::UInt32, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("piece", DataType::UInt32, false),
            Field::new("data", DataType::Binary, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// Splits an array into rows of at most [`MESSAGE_BYTES_MAX`] bytes. Each row is a batch and is made when it is needed,
/// so the array is not held twice.
pub fn output_rows<'a>(
    worker: WorkerId,
    name: &'a str,
    data: &'a [u8],
) -> impl Iterator<Item = Result<RecordBatch>> + use<'a> {
    rows(worker, name, &[], data)
}

/// Converts the report of a worker to the first row of its task output.
///
/// # Errors
/// Returns [`Error::Wire`] if the report cannot be serialized.
pub fn report_rows(worker: WorkerId, report: &impl Report) -> Result<Vec<RecordBatch>> {
    let json = serde_json::to_vec(report).map_err(|e| wire(e.to_string()))?;
    output_rows(worker, REPORT, &json).collect()
}

/// Converts a tensor to rows of a task output: the number of dimensions and the dimensions (u64 each), then the values
/// (f32).
pub fn tensor_rows(worker: WorkerId, tensor: &NamedTensor) -> impl Iterator<Item = Result<RecordBatch>> {
    let shape = std::iter::once(tensor.shape.len() as u64).chain(tensor.shape.iter().map(|side| *side as u64));
    let header: Vec<u8> = shape.flat_map(u64::to_le_bytes).collect();
    rows(worker, &tensor.name, &header, bytemuck::cast_slice(&tensor.data))
}

fn rows<'a>(
    worker: WorkerId,
    name: &'a str,
    header: &[u8],
    data: &'a [u8],
) -> impl Iterator<Item = Result<RecordBatch>> + use<'a> {
    let (first, rest) = data.split_at(data.len().min(MESSAGE_BYTES_MAX.saturating_sub(header.len())));
    let pieces = std::iter::once([header, first].concat()).chain(rest.chunks(MESSAGE_BYTES_MAX).map(<[u8]>::to_vec));
    pieces.zip(0_u32..).map(move |(bytes, piece)| {
        let offsets = OffsetBuffer::from_lengths([bytes.len()]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(vec![worker.0])),
            Arc::new(StringArray::from(vec![name])),
            Arc::new(UInt32Array::from(vec![piece])),
            Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes), None)),
        ];
        RecordBatch::try_new(output_schema(), columns).map_err(|e| wire(e.to_string()))
    })
}

impl<'a> TaskOutput<'a> {
    /// Reads the rows of a batch.
    ///
    /// # Errors
    /// Returns [`Error::Wire`] if the batch is not a task output.
    pub fn rows(batch: &'a RecordBatch) -> Result<impl Iterator<Item = TaskOutput<'a>>> {
        if batch.schema().fields() != output_schema().fields() {
            return Err(wire(format!("its columns are {}", batch.schema())));
        }
        let worker = batch.column(0).as_primitive::<UInt32Type>();
        let name = batch.column(1).as_string::<i32>();
        let piece = batch.column(2).as_primitive::<UInt32Type>();
        let data = batch.column(3).as_binary::<i32>();
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err(wire("it contains NULLs".to_owned()));
        }
        Ok((0..batch.num_rows()).map(move |row| TaskOutput {
            worker: WorkerId(worker.value(row)),
            name: name.value(row),
            piece: piece.value(row),
            data: data.value(row),
        }))
    }

    /// Returns the report, if this row has it.
    ///
    /// # Errors
    /// Returns [`Error::Wire`] if it is not a report of this job.
    pub fn report<R: Report>(&self) -> Result<Option<R>> {
        if self.name != REPORT {
            return Ok(None);
        }
        let report: R = serde_json::from_slice(self.data).map_err(|e| wire(e.to_string()))?;
        report.check().map_err(wire)?;
        Ok(Some(report))
    }
}

/// Returns the shape in the first piece of a tensor, and the bytes of values after it.
///
/// # Errors
/// Returns [`Error::Wire`] if the piece is too short for its shape.
pub fn tensor_header(first_piece: &[u8]) -> Result<(Vec<usize>, &[u8])> {
    let short = || wire("a tensor is shorter than its shape".to_owned());
    let (sides, rest) = first_piece.split_first_chunk::<8>().ok_or_else(short)?;
    let sides = usize::try_from(u64::from_le_bytes(*sides)).map_err(|_| short())?;
    let bytes = sides.checked_mul(8).filter(|bytes| *bytes <= rest.len()).ok_or_else(short)?;
    let (shape, values) = rest.split_at(bytes);
    let side = |chunk: &[u8; 8]| usize::try_from(u64::from_le_bytes(*chunk)).map_err(|_| short());
    Ok((shape.as_chunks::<8>().0.iter().map(side).collect::<Result<_>>()?, values))
}

fn wire(reason: String) -> Error {
    Error::Wire { what: "worker's answer", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_larger_than_a_message_is_split_and_joined() {
        let data: Vec<u8> = (0..MESSAGE_BYTES_MAX * 2 + 5).map(|i| (i % 251) as u8).collect();
        let mut joined = Vec::new();
        for (i, batch) in output_rows(WorkerId(3), "scores", &data).enumerate() {
            let batch = batch.unwrap();
            let [row] = TaskOutput::rows(&batch).unwrap().collect::<Vec<_>>()[..] else { panic!("not one row") };
            assert_eq!((row.worker, row.name, row.piece), (WorkerId(3), "scores", i as u32));
            assert!(row.data.len() <= MESSAGE_BYTES_MAX);
            joined.extend_from_slice(row.data);
        }
        assert!(joined == data);
        assert_eq!(output_rows(WorkerId(0), "none", &[]).count(), 1);
    }

    #[test]
    fn the_first_piece_of_a_tensor_contains_its_shape() {
        let numel = MESSAGE_BYTES_MAX / 2;
        let data: Vec<f32> = (0..numel).map(|i| i as f32).collect();
        let tensor = NamedTensor { name: "fc.weight".into(), shape: vec![2, numel / 2], data };
        let batches: Vec<RecordBatch> = tensor_rows(WorkerId(0), &tensor).map(Result::unwrap).collect();
        let rows = batches.iter().flat_map(|batch| TaskOutput::rows(batch).unwrap().map(|row| row.data));
        let mut rows = rows.inspect(|row| assert!(row.len() <= MESSAGE_BYTES_MAX));
        let (shape, first) = tensor_header(rows.next().unwrap()).unwrap();
        assert_eq!(shape, tensor.shape);
        let values: Vec<u8> = first.iter().chain(rows.flatten()).copied().collect();
        assert!(values == bytemuck::cast_slice::<f32, u8>(&tensor.data));
    }

    #[test]
    fn a_batch_of_another_shape_is_refused() {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert!(TaskOutput::rows(&batch).is_err());
    }
}
