//! Rows that clients send: values of parameters, and rows of new tables.

use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use arrow_flight::decode::{DecodedFlightData, DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::sessions::BOUND_BYTES_MAX;
use crate::session::ParameterRows;
use crate::status::{PROTOCOL, TOO_LARGE};

/// The rows of a request, as they arrive.
pub(super) struct Incoming {
    messages: Pin<Box<dyn Stream<Item = Result<DecodedFlightData, Status>> + Send>>,
    schema: Option<SchemaRef>,
}

impl Incoming {
    /// Reads the messages of a request. A message that has only a command has no rows.
    pub(super) fn new(request: PeekableFlightDataStream) -> Self {
        let messages = request.try_filter(|message| ready(!message.data_header.is_empty()));
        let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
        // Arrow's reader panics on some invalid bytes.
        let decoded = AssertUnwindSafe(FlightDataDecoder::new(messages)).catch_unwind().map(|caught| match caught {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(FlightError::Tonic(status))) => Err(*status),
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(_) => Err(unreadable(&"their reader panicked")),
        });
        Self { messages: Box::pin(decoded), schema: None }
    }

    /// Returns the next rows, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        while let Some(message) = self.messages.next().await {
            match message?.payload {
                DecodedPayload::RecordBatch(batch) => return Ok(Some(batch)),
                DecodedPayload::Schema(_) if self.schema.is_some() => return Err(unreadable(&"they have two schemas")),
                DecodedPayload::Schema(schema) => self.schema = Some(schema),
                DecodedPayload::None => {}
            }
        }
        Ok(None)
    }

    /// The columns, which are known with the first rows, or at the end.
    pub(super) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }
}

fn unreadable(reason: &dyn std::fmt::Display) -> Status {
    PROTOCOL.status(format!("the rows that were sent cannot be read: {reason}"))
}

/// Returns the values of parameters in a request.
pub(super) async fn read_values(request: PeekableFlightDataStream) -> Result<ParameterRows, Status> {
    let mut incoming = Incoming::new(request);
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = incoming.next().await? {
        bytes += batch.get_array_memory_size();
        if bytes > BOUND_BYTES_MAX {
            return Err(TOO_LARGE.status(format!(
                "the values of parameters have more than {} MiB. Execute the statement for fewer rows at a time, or send the \
                 rows as a table (adbc_ingest)",
                BOUND_BYTES_MAX >> 20
            )));
        }
        batches.push(batch);
    }
    if let (true, Some(schema)) = (batches.is_empty(), incoming.schema()) {
        batches.push(RecordBatch::new_empty(schema.clone()));
    }
    Ok(ParameterRows::new(batches))
}
