//! The rows that a worker answers with: its report first, then named arrays cut into pieces.
//!
//! gRPC messages are limited (16 MiB by default), tensors are not (VGG16 has one of 411 MB): so a row carries at most
//! [`MESSAGE_BYTES_MAX`] bytes of one array.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, UInt32Array};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::job::Report;
use crate::state::NamedTensor;

/// The most bytes of an array in one row.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The name of the row that carries the report.
pub const REPORT: &str = "#report";

/// One row of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<'a> {
    /// Who answers.
    pub worker: WorkerId,
    /// Which array, or [`REPORT`].
    pub name: &'a str,
    /// Which piece of it, from 0.
    pub piece: u32,
    /// Its bytes: little-endian numbers, or the report as JSON.
    pub data: &'a [u8],
}

/// The schema of answers.
#[must_use]
pub fn answer_schema() -> SchemaRef {
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

/// One array as rows of an answer, each of at most [`MESSAGE_BYTES_MAX`] bytes and each a batch of its own: they are made
/// one at a time, so that an array is never held twice.
pub fn answer_rows<'a>(
    worker: WorkerId,
    name: &'a str,
    data: &'a [u8],
) -> impl Iterator<Item = Result<RecordBatch>> + use<'a> {
    rows(worker, name, &[], data)
}

/// A worker's report as rows of its answer: it comes first.
///
/// # Errors
/// [`Error::Wire`] when it cannot be written.
pub fn report_rows(worker: WorkerId, report: &impl Report) -> Result<Vec<RecordBatch>> {
    let json = serde_json::to_vec(report).map_err(|e| wire(e.to_string()))?;
    answer_rows(worker, REPORT, &json).collect()
}

/// A tensor as rows of an answer: how many sides it has and how long they are (u64 each), then its values (f32).
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
        RecordBatch::try_new(answer_schema(), columns).map_err(|e| wire(e.to_string()))
    })
}

impl<'a> Answer<'a> {
    /// The rows of a batch.
    ///
    /// # Errors
    /// [`Error::Wire`] when the batch is no answer.
    pub fn rows(batch: &'a RecordBatch) -> Result<impl Iterator<Item = Answer<'a>>> {
        if batch.schema().fields() != answer_schema().fields() {
            return Err(wire(format!("its columns are {}", batch.schema())));
        }
        let worker = batch.column(0).as_primitive::<UInt32Type>();
        let name = batch.column(1).as_string::<i32>();
        let piece = batch.column(2).as_primitive::<UInt32Type>();
        let data = batch.column(3).as_binary::<i32>();
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err(wire("it contains NULLs".to_owned()));
        }
        Ok((0..batch.num_rows()).map(move |row| Answer {
            worker: WorkerId(worker.value(row)),
            name: name.value(row),
            piece: piece.value(row),
            data: data.value(row),
        }))
    }

    /// The report, if this row carries it.
    ///
    /// # Errors
    /// [`Error::Wire`] when it is no report of that job.
    pub fn report<R: Report>(&self) -> Result<Option<R>> {
        if self.name != REPORT {
            return Ok(None);
        }
        let report: R = serde_json::from_slice(self.data).map_err(|e| wire(e.to_string()))?;
        report.check().map_err(wire)?;
        Ok(Some(report))
    }
}

/// The shape in the first piece of a tensor, and the bytes of values that follow it in that piece.
///
/// # Errors
/// [`Error::Wire`] when the piece is too short for its shape.
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
    fn an_array_larger_than_a_message_is_cut_and_put_together_again() {
        let data: Vec<u8> = (0..MESSAGE_BYTES_MAX * 2 + 5).map(|i| (i % 251) as u8).collect();
        let mut joined = Vec::new();
        for (i, batch) in answer_rows(WorkerId(3), "scores", &data).enumerate() {
            let batch = batch.unwrap();
            let [row] = Answer::rows(&batch).unwrap().collect::<Vec<_>>()[..] else { panic!("not one row") };
            assert_eq!((row.worker, row.name, row.piece), (WorkerId(3), "scores", i as u32));
            assert!(row.data.len() <= MESSAGE_BYTES_MAX);
            joined.extend_from_slice(row.data);
        }
        assert!(joined == data);
        assert_eq!(answer_rows(WorkerId(0), "none", &[]).count(), 1);
    }

    #[test]
    fn a_tensor_has_its_shape_in_its_first_piece() {
        let numel = MESSAGE_BYTES_MAX / 2;
        let data: Vec<f32> = (0..numel).map(|i| i as f32).collect();
        let tensor = NamedTensor { name: "fc.weight".into(), shape: vec![2, numel / 2], data };
        let batches: Vec<RecordBatch> = tensor_rows(WorkerId(0), &tensor).map(Result::unwrap).collect();
        let rows = batches.iter().flat_map(|batch| Answer::rows(batch).unwrap().map(|row| row.data));
        let mut rows = rows.inspect(|row| assert!(row.len() <= MESSAGE_BYTES_MAX));
        let (shape, first) = tensor_header(rows.next().unwrap()).unwrap();
        assert_eq!(shape, tensor.shape);
        let values: Vec<u8> = first.iter().chain(rows.flatten()).copied().collect();
        assert!(values == bytemuck::cast_slice::<f32, u8>(&tensor.data));
    }

    #[test]
    fn a_batch_of_another_shape_is_refused() {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert!(Answer::rows(&batch).is_err());
    }
}
