//! Encodes rows as Flight messages.
//!
//! Arrow's own encoder sends other types than the columns that it is told (it turns large lists into lists), and cuts
//! batches by the memory that they hold and not by what a message would have.

use std::pin::Pin;

use arrow_flight::{FlightData, SchemaAsIpc};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt, stream};
use tonic::Status;

use super::stream::DataStream;
use super::wire::{bytes_of_batch, compacted, wire_batch, wire_schema};
use crate::status::{DATA, TOO_LARGE};

/// The size in bytes above which a batch is cut.
const PIECE_BYTES: usize = 2 << 20;

/// The maximum size of a row in bytes: a cell of 256 MiB, and the other columns.
const ROW_BYTES_MAX: usize = 288 << 20;

/// The maximum size of a message in bytes, in both directions. A message has at least one row.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Returns the messages of rows. The first message is their schema, which is that of [`wire_schema`].
pub(super) fn encoded(
    schema: &SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> DataStream {
    let (schema, options) = (wire_schema(schema), IpcWriteOptions::default());
    let first = FlightData::from(SchemaAsIpc::new(&schema, &options));
    let encoder = Encoder {
        rows: Box::pin(rows),
        pieces: Vec::new(),
        schema,
        options,
        generator: IpcDataGenerator::default(),
        dictionaries: DictionaryTracker::new(true),
        context: IpcWriteContext::default(),
    };
    let messages = stream::try_unfold(encoder, |mut encoder| async move {
        let next = encoder.next().await;
        next.map(|message| message.map(|message| (message, encoder)))
    });
    Box::pin(stream::once(async move { Ok(first) }).chain(messages))
}

/// The state between two messages.
struct Encoder {
    rows: Pin<Box<dyn Stream<Item = Result<RecordBatch, Status>> + Send>>,
    /// The pieces of the last batch that are not sent yet, the next one last.
    pieces: Vec<RecordBatch>,
    schema: SchemaRef,
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            let Some(piece) = self.pieces.pop() else {
                let Some(batch) = self.rows.next().await.transpose()? else { return Ok(None) };
                if batch.num_rows() > 0 {
                    self.pieces.push(wire_batch(&batch, &self.schema).map_err(unencodable)?);
                }
                continue;
            };
            let (rows, bytes) = (piece.num_rows(), bytes_of_batch(&piece));
            if bytes > PIECE_BYTES && rows > 1 {
                self.pieces.extend([piece.slice(rows / 2, rows - rows / 2), piece.slice(0, rows / 2)]);
                continue;
            }
            if bytes > ROW_BYTES_MAX {
                return Err(TOO_LARGE.status(format!(
                    "a row has {} MiB, and rows of at most {} MiB are sent. Select fewer columns, or a part of the value",
                    bytes >> 20,
                    ROW_BYTES_MAX >> 20
                )));
            }
            return self.message(&piece).map(Some).map_err(unencodable);
        }
    }

    fn message(&mut self, piece: &RecordBatch) -> Result<FlightData, ArrowError> {
        let piece = compacted(piece)?;
        // No column is a dictionary.
        let (_, encoded) = self.generator.encode(&piece, &mut self.dictionaries, &self.options, &mut self.context)?;
        Ok(encoded.into())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the error is not used afterwards")]
fn unencodable(error: ArrowError) -> Status {
    DATA.status(format!("the rows cannot be sent: {error}. Cast the column to another type"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_flight::FlightInfo;
    use arrow_flight::decode::FlightRecordBatchStream;
    use arrow_flight::error::FlightError;
    use datafusion::arrow::array::{
        Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, LargeListArray, StringViewArray,
    };
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::datatypes::{Int8Type, Int32Type};
    use futures::TryStreamExt;

    use super::*;

    async fn sent(batch: RecordBatch) -> (SchemaRef, Vec<RecordBatch>) {
        let messages = encoded(&batch.schema(), stream::iter([Ok(batch)]));
        let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut decoded = FlightRecordBatchStream::new_from_flight_data(messages);
        let mut batches = Vec::new();
        while let Some(batch) = decoded.try_next().await.unwrap() {
            batches.push(batch);
        }
        (Arc::clone(decoded.schema().unwrap()), batches)
    }

    #[tokio::test]
    async fn the_schema_of_the_messages_is_the_one_that_is_told_before() {
        let words: DictionaryArray<Int8Type> = vec![Some("a"), None].into_iter().collect();
        let lists = LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let columns: [(&str, ArrayRef); 2] = [("words", Arc::new(words)), ("lists", Arc::new(lists))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let told = FlightInfo::new().try_with_schema(&wire_schema(&batch.schema())).unwrap();
        let lists = Arc::clone(batch.column(1));
        let (schema, batches) = sent(batch).await;
        assert_eq!(told.try_decode_schema().unwrap(), *schema);
        assert_eq!(batches[0].column(1).to_data(), lists.to_data());
    }

    #[tokio::test]
    async fn large_batches_are_cut_and_all_their_rows_arrive() {
        let text = |row: usize| format!("{row:0>20000}");
        let views = StringViewArray::from_iter_values((0..400).map(text));
        let bytes = BinaryArray::from_iter_values((0..400).map(text));
        let numbers = Int32Array::from_iter_values(0..400);
        let columns: [(&str, ArrayRef); 3] = [("v", Arc::new(views)), ("b", Arc::new(bytes)), ("n", Arc::new(numbers))];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(3, 390);
        let (schema, batches) = sent(batch.clone()).await;
        assert!(batches.len() >= 8, "{}", batches.len());
        for piece in &batches {
            assert!(bytes_of_batch(piece) <= PIECE_BYTES + (64 << 10));
        }
        assert_eq!(concat_batches(&schema, &batches).unwrap(), batch);
    }

    #[tokio::test]
    async fn a_row_that_is_larger_than_a_piece_is_sent_alone() {
        let (small, large) = (vec![1_u8; 10], vec![2_u8; 5 << 20]);
        let column: ArrayRef = Arc::new(BinaryArray::from_vec(vec![small.as_slice(), &large, &small]));
        let (_, batches) = sent(RecordBatch::try_from_iter([("b", column)]).unwrap()).await;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
        assert!(batches.iter().any(|batch| batch.num_rows() == 1 && bytes_of_batch(batch) > 5 << 20));
    }
}
