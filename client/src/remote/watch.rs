//! Follows the rows of a statement, and reconnects when the scheduler goes away during a run.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use arrow_flight::decode::DecodedPayload;
use arrow_flight::error::FlightError;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tusk_core::event::{OnEvent, RunEvent};
use tusk_core::ids::ModelName;
use tusk_core::protocol::{FOLLOW_TICKET, Follow};

use super::{Messages, Remote, is_gone, root_cause, ticket};
use crate::error::{Error, Result};

/// How long to try to reconnect to a scheduler that is lost during a run.
const RECONNECT_MAX: Duration = Duration::from_secs(600);

/// The wait between two attempts to reconnect.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// Follows the rows of one statement. If `model` is set, they are the epochs of a run, and a restarted scheduler
/// continues them.
pub(super) struct Watch {
    pub(super) remote: Remote,
    pub(super) model: Option<ModelName>,
    pub(super) on_event: Option<OnEvent>,
    /// The epochs that have been received, as (model, epoch).
    pub(super) seen: HashSet<(String, u32)>,
}

impl Watch {
    /// The next batch of rows.
    pub(super) async fn next(&mut self, messages: &mut Messages) -> Result<Option<RecordBatch>> {
        loop {
            match messages.next().await {
                None => return Ok(None),
                Some(Ok(message)) => match message.payload {
                    DecodedPayload::RecordBatch(batch) => {
                        self.note_epoch(&batch);
                        return Ok(Some(batch));
                    }
                    DecodedPayload::Schema(_) => {}
                    DecodedPayload::None => self.pass_on(&message.inner.app_metadata),
                },
                Some(Err(FlightError::Tonic(status))) if is_gone(&status) && self.model.is_some() => {
                    *messages = self.reconnect(&status).await?;
                }
                Some(Err(FlightError::Tonic(status))) => return Err(self.remote.status(&status)),
                Some(Err(error)) => return Err(self.remote.refused(error.to_string())),
            }
        }
    }

    fn note_epoch(&mut self, batch: &RecordBatch) {
        use datafusion::arrow::array::AsArray;
        use datafusion::arrow::datatypes::UInt32Type;
        let models = batch.column_by_name("model").and_then(|column| column.as_string_opt::<i32>());
        let epochs = batch.column_by_name("epoch").and_then(|column| column.as_primitive_opt::<UInt32Type>());
        if let (Some(models), Some(epochs)) = (models, epochs) {
            let rows = models.iter().zip(epochs.values());
            self.seen.extend(rows.map(|(model, epoch)| (model.unwrap_or_default().to_owned(), *epoch)));
        }
    }

    fn pass_on(&self, event: &[u8]) {
        if let Some(on_event) = &self.on_event {
            match serde_json::from_slice::<RunEvent>(event) {
                Ok(event) => on_event(&event),
                Err(error) => tracing::debug!(%error, "cannot read an event"),
            }
        }
    }

    /// Reconnects to the scheduler and follows the run from the epochs that have been received.
    async fn reconnect(&mut self, lost: &Status) -> Result<Messages> {
        let Some(model) = self.model.clone() else { return Err(self.remote.status(lost)) };
        tracing::warn!(url = self.remote.url, %model, "lost the connection to the scheduler; reconnecting");
        let start = Instant::now();
        let mut last = self.remote.status(lost);
        while start.elapsed() < RECONNECT_MAX {
            tokio::time::sleep(RECONNECT_WAIT).await;
            match self.remote.endpoint.connect().await {
                Err(error) => last = Error::Unreachable { url: self.remote.url.clone(), reason: root_cause(&error) },
                Ok(channel) => {
                    self.remote.channel = channel;
                    let follow = Follow { model: model.clone(), seen: self.seen.clone() };
                    let follow = serde_json::to_vec(&follow).map_err(|e| self.remote.refused(e.to_string()))?;
                    match self.remote.messages(ticket(FOLLOW_TICKET, follow)).await {
                        Ok(messages) => {
                            tracing::warn!(url = self.remote.url, %model, "reconnected to the scheduler");
                            return Ok(messages);
                        }
                        // The scheduler has not resumed its runs yet.
                        Err(error) => last = error,
                    }
                }
            }
        }
        Err(last)
    }
}

/// Cancels a run on the scheduler when `cancel` fires.
pub(super) async fn cancel_with(remote: Remote, model: ModelName, cancel: CancellationToken) {
    cancel.cancelled().await;
    let sql = format!("CANCEL TRAINING \"{model}\"");
    if let Err(error) = remote.start(&sql).await {
        tracing::warn!(%model, %error, "cannot cancel the run");
    }
}
