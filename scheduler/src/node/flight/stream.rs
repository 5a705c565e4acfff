//! Converts rows to a stream of Flight messages, with the events of a run between them if the client asks for them.

use std::pin::Pin;

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};
use tusk_core::cause::CauseKind;
use tusk_core::event::RunEvent;
use tusk_core::protocol::ENDING;

use crate::error::{Error, Results};

/// The number of events that may wait for a slow client. Further events are dropped.
pub(crate) const EVENTS_WAITING_MAX: usize = 256;

/// A stream of Flight messages.
pub(crate) type DataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Returns the stream of a batch.
pub(crate) fn of_batch(batch: RecordBatch) -> Response<DataStream> {
    let schema = batch.schema();
    Response::new(encoded(schema, stream::once(async move { Ok(batch) })))
}

/// Returns the stream of rows, which may still be computed, and of events, if any are requested.
///
/// When `ending` is cancelled, the rows of a run end with an error: they may take hours, the run continues in the next
/// scheduler, and the client can follow it there.
pub(crate) fn of_results(
    results: Results,
    events: Option<mpsc::Receiver<RunEvent>>,
    ending: CancellationToken,
) -> DataStream {
    let schema = results.schema();
    let is_run = results.cancellation().is_some();
    let rows = stream::try_unfold((results, ending), move |(mut results, ending)| async move {
        let batch = tokio::select! {
            biased;
            batch = results.next() => batch.map_err(status_of)?,
            () = ending.cancelled(), if is_run => {
                return Err(Status::unavailable(ENDING));
            }
        };
        Ok(batch.map(|batch| (batch, (results, ending))))
    });
    let rows = encoded(schema, rows);
    match events {
        None => rows,
        Some(events) => Box::pin(stream::unfold((rows, events, true), with_events)),
    }
}

/// Returns the next message. The schema comes first, then the rows and the events as they happen, then the remaining
/// events.
async fn with_events(
    (mut rows, mut events, first): (DataStream, mpsc::Receiver<RunEvent>, bool),
) -> Option<(Result<FlightData, Status>, (DataStream, mpsc::Receiver<RunEvent>, bool))> {
    let row = if first {
        rows.next().await
    } else {
        tokio::select! {
            biased;
            Some(event) = events.recv() => return Some((Ok(event_message(&event)), (rows, events, false))),
            row = rows.next() => row,
        }
    };
    match row {
        Some(row) => Some((row, (rows, events, false))),
        None => {
            let event = events.try_recv().ok()?;
            let over: DataStream = Box::pin(stream::empty());
            Some((Ok(event_message(&event)), (over, events, false)))
        }
    }
}

/// An empty IPC message in the format of FlatBuffers: the offset of the table, its layout without fields, and the
/// table. Decoders refuse a message that has no header at all.
const NO_MESSAGE: &[u8] = &[8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0];

fn event_message(event: &RunEvent) -> FlightData {
    let json = serde_json::to_vec(event).unwrap_or_default();
    FlightData { data_header: Bytes::from_static(NO_MESSAGE), app_metadata: Bytes::from(json), ..FlightData::default() }
}

fn encoded(schema: SchemaRef, rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> DataStream {
    let rows = rows.map_err(|status| FlightError::Tonic(Box::new(status)));
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
    Box::pin(encoded.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    }))
}

/// Converts an error to a gRPC status with the same message.
#[expect(clippy::needless_pass_by_value, reason = "the error is not used afterwards")]
pub(crate) fn status_of(error: Error) -> Status {
    let code = match &error {
        Error::Cancelled { .. } | Error::AdaptingCancelled { .. } => Code::Cancelled,
        Error::CannotResume { .. } | Error::NotHere { .. } => Code::FailedPrecondition,
        other => match other.kind() {
            CauseKind::Invalid => Code::InvalidArgument,
            CauseKind::NotFound => Code::NotFound,
            CauseKind::Exists => Code::AlreadyExists,
            CauseKind::Exhausted => Code::ResourceExhausted,
            CauseKind::Unavailable => Code::Unavailable,
            _ => Code::Internal,
        },
    };
    Status::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
    use tusk_core::ids::{ModelName, RunId};

    use super::*;

    #[tokio::test]
    async fn decoders_accept_an_event_message_and_return_its_metadata() {
        let model = ModelName::new("m").unwrap();
        let event = RunEvent::Started { run: RunId::starting_at(0), model, epochs: 3, resumed_from: 0 };
        let messages = stream::iter([Ok(event_message(&event))]);
        let decoded: Vec<_> = FlightDataDecoder::new(messages).try_collect().await.unwrap();
        assert!(matches!(decoded[0].payload, DecodedPayload::None));
        let told: RunEvent = serde_json::from_slice(&decoded[0].inner.app_metadata).unwrap();
        assert!(matches!(told, RunEvent::Started { epochs: 3, .. }));
    }
}
