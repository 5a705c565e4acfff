//! Cancelling the rows of a statement: the action CancelFlightInfo, and CancelQuery of older clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_flight::sql::{Any, TicketStatementQuery};
use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use futures::{StreamExt, stream};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::TuskFlight;
use super::stream::DataStream;
use crate::access::users::Identity;
use crate::status::{CANCELLED, NO_RESULT, PROTOCOL};

/// The name of the action.
pub(super) const CANCEL_ACTION: &str = "CancelFlightInfo";

/// The session and the handle of a statement.
type Key = (String, String);

/// The statements whose rows are being sent. They are as many as open requests.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<Key, CancellationToken>>);

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that rows are being sent, until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, session: &str, handle: &str) -> Fetch {
        let (key, cancel) = ((session.to_owned(), handle.to_owned()), CancellationToken::new());
        self.lock().insert(key.clone(), cancel.clone());
        Fetch { fetches: Arc::clone(self), key, cancel }
    }

    /// Ends the rows of a statement. Returns whether they are being sent.
    fn cancel(&self, session: &str, handle: &str) -> bool {
        let fetch = self.lock().remove(&(session.to_owned(), handle.to_owned()));
        fetch.inspect(CancellationToken::cancel).is_some()
    }
}

/// Rows that are being sent.
#[derive(Debug)]
pub(super) struct Fetch {
    fetches: Arc<Fetches>,
    key: Key,
    cancel: CancellationToken,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.fetches.lock().remove(&self.key);
    }
}

/// Returns rows that end with an error when their statement is cancelled.
pub(super) fn until_cancelled(rows: DataStream, fetch: Fetch) -> DataStream {
    Box::pin(stream::unfold(Some((rows, fetch)), |sent| async move {
        let (mut rows, fetch) = sent?;
        tokio::select! {
            biased;
            () = fetch.cancel.cancelled() => Some((Err(CANCELLED.status("the statement was cancelled")), None)),
            row = rows.next() => row.map(|row| (row, Some((rows, fetch)))),
        }
    }))
}

impl TuskFlight {
    /// Cancels the statement of an action's message, and returns the answer's.
    pub(super) fn cancel_flight_info(&self, identity: &Identity, message: &[u8]) -> Result<Vec<u8>, Status> {
        let request = CancelFlightInfoRequest::decode(message).map_err(invalid)?;
        let info = request.info.ok_or_else(|| PROTOCOL.status("the message has no FlightInfo"))?;
        Ok(CancelFlightInfoResult::new(self.cancel(identity, &info)?).encode_to_vec())
    }

    /// Cancels the statement whose rows are at this ticket. A run goes on: CANCEL TRAINING ends it.
    pub(super) fn cancel(&self, identity: &Identity, info: &FlightInfo) -> Result<CancelStatus, Status> {
        Self::require_query(identity)?;
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.as_ref());
        let ticket = ticket.ok_or_else(|| PROTOCOL.status("the FlightInfo has no ticket"))?;
        let ticket = Any::decode(&*ticket.ticket).map_err(invalid)?;
        let Some(statement) = ticket.unpack::<TicketStatementQuery>().map_err(invalid)? else {
            return Ok(CancelStatus::NotCancellable);
        };
        let handle = std::str::from_utf8(&statement.statement_handle).map_err(invalid)?;
        match self.sessions.take(&identity.session, handle) {
            Ok(rows) if rows.is_done => Ok(CancelStatus::NotCancellable),
            // Rows that were not fetched are dropped with what computes them.
            Ok(_) => Ok(CancelStatus::Cancelled),
            Err(_) if self.fetches.cancel(&identity.session, handle) => Ok(CancelStatus::Cancelled),
            Err(_) => Err(NO_RESULT.status("there is no such statement, or it has ended")),
        }
    }
}

fn invalid(error: impl std::fmt::Display) -> Status {
    PROTOCOL.status(format!("the message cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow_flight::FlightData;

    use super::*;

    #[tokio::test]
    async fn cancelled_rows_end_with_an_error_and_finished_rows_are_forgotten() {
        let fetches = Arc::new(Fetches::default());
        let endless =
            || -> DataStream { Box::pin(stream::once(async { Ok(FlightData::default()) }).chain(stream::pending())) };
        let mut rows = until_cancelled(endless(), fetches.begin("s", "1"));
        assert!(rows.next().await.unwrap().is_ok());
        assert!(!fetches.cancel("other", "1"));
        assert!(fetches.cancel("s", "1"));
        assert_eq!(rows.next().await.unwrap().unwrap_err().code(), tonic::Code::Cancelled);
        assert!(rows.next().await.is_none());
        let finished = until_cancelled(Box::pin(stream::empty()), fetches.begin("s", "2"));
        assert_eq!(finished.count().await, 0);
        assert!(fetches.lock().is_empty());
    }
}
