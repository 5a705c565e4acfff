//! Rows as a stream of Flight messages, with the events of a run between them if the client asks for them.

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

/// Events that may wait for a slow client before it misses some.
pub(crate) const EVENTS_WAITING_MAX: usize = 256;

/// Flight's stream of data.
pub(crate) type DataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Rows that are there already.
pub(crate) fn of_batch(batch: RecordBatch) -> Response<DataStream> {
    let schema = batch.schema();
    Response::new(encoded(schema, stream::once(async move { Ok(batch) })))
}

/// Rows that may still be coming, and events if they are wanted. Once `ending` fires, a run's rows end: they may take
/// hours, the run goes on in the next scheduler, and so may who watches it.
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

/// The next message: the schema before anything else, then events as they happen between the rows, and those that are
/// left when the rows end.
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

/// An IPC message that says nothing, in flatbuffers' form: where the table is, its layout without a field, the table.
/// Decoders refuse a message that has no header at all.
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

/// An error in gRPC's terms; the text is ours.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the error")]
pub(crate) fn status_of(error: Error) -> Status {
    let code = match &error {
        Error::Cancelled { .. } => Code::Cancelled,
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
    async fn an_event_is_a_message_that_decoders_bear_and_pass_on() {
        let model = ModelName::new("m").unwrap();
        let event = RunEvent::Started { run: RunId::starting_at(0), model, epochs: 3, resumed_from: 0 };
        let messages = stream::iter([Ok(event_message(&event))]);
        let decoded: Vec<_> = FlightDataDecoder::new(messages).try_collect().await.unwrap();
        assert!(matches!(decoded[0].payload, DecodedPayload::None));
        let told: RunEvent = serde_json::from_slice(&decoded[0].inner.app_metadata).unwrap();
        assert!(matches!(told, RunEvent::Started { epochs: 3, .. }));
    }
}
