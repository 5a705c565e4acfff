//! Adapts models in the background, like runs: under the name of the model, so that a run cannot replace it meanwhile.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;
use tusk_core::event::{OnEvent, RunEvent};
use tusk_core::ids::RunId;

use super::TrainingService;
use super::register::Registered;
use crate::error::{Error, Result};
use crate::run::adaptation::{AdaptRequest, Adapted, adapt};
use crate::run::unix_ms;

/// A handle of an adaptation. Dropping it cancels the adaptation.
#[derive(Debug)]
pub(crate) struct AdaptHandle {
    events: broadcast::Receiver<RunEvent>,
    task: JoinHandle<Result<Adapted>>,
    _cancel: DropGuard,
}

impl TrainingService {
    /// Starts to adapt a model.
    ///
    /// # Errors
    /// [`Error::AlreadyTraining`] if a model of the new name is being trained or adapted, [`Error::TargetExists`] if
    /// the new name belongs to another model. If the images cannot be used, [`AdaptHandle::finish`] returns the error.
    pub(crate) async fn adapt(&self, request: AdaptRequest) -> Result<AdaptHandle> {
        let run = RunId::starting_at(unix_ms());
        let Registered { context, events, guard } = self.register(&request.target, &run, 0)?;
        let is_other = request.target != request.manifest.name;
        if is_other && self.store().find_manifest(&request.target).await?.is_some() {
            return Err(Error::TargetExists { name: request.target.to_string() });
        }
        let cancel = context.cancel.clone().drop_guard();
        let task = tokio::spawn(async move {
            let adapted = adapt(context, request, run).await;
            if let Err(error) = &adapted {
                tracing::warn!(model = %guard.name, %error, "adapting ended early");
            }
            // From here on, the model can be trained again.
            drop(guard);
            adapted
        });
        Ok(AdaptHandle { events, task, _cancel: cancel })
    }
}

impl AdaptHandle {
    /// Waits for the end. `on_event` is called with the events until then.
    ///
    /// # Errors
    /// Returns the error with which adapting failed, or [`Error::AdaptingCancelled`].
    pub(crate) async fn finish(mut self, on_event: Option<OnEvent>) -> Result<Adapted> {
        loop {
            match (self.events.recv().await, &on_event) {
                (Ok(event), Some(on_event)) => on_event(&event),
                (Ok(_), None) => {}
                (Err(RecvError::Lagged(missed)), _) => tracing::warn!(missed, "missed events of the adaptation"),
                (Err(RecvError::Closed), _) => break,
            }
        }
        self.task.await.unwrap_or_else(|error| {
            Err(Error::Job { phase: "adapting".to_owned(), reason: format!("stopped unexpectedly: {error}") })
        })
    }
}
