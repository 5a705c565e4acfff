//! Registers runs by the name of their model. There is one run of a name at a time.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tusk_core::event::RunEvent;
use tusk_core::ids::{ModelName, RunId};
use tusk_core::protocol::RunSummary;

use super::TrainingService;
use crate::error::{Error, Result};
use crate::metrics;
use crate::run::active::{ActiveRun, Deregister};
use crate::run::{RunContext, unix_ms};

/// The number of events that may wait for a slow watcher. Further events replace the oldest ones. A run sends far fewer
/// in a minute.
const EVENTS_WAITING_MAX: usize = 4096;

/// A registered run.
pub(super) struct Registered {
    pub(super) context: RunContext,
    pub(super) events: broadcast::Receiver<RunEvent>,
    /// Ends the registration when dropped.
    pub(super) guard: Deregister,
}

impl TrainingService {
    /// Registers a run of a model, unless one is active.
    pub(super) fn register(&self, name: &ModelName, run: &RunId, epochs: u32) -> Result<Registered> {
        let inner = &self.inner;
        let (events, watcher) = broadcast::channel(EVENTS_WAITING_MAX);
        let cancel = CancellationToken::new();
        let (busy, idle) = watch::channel(());
        {
            let mut active = inner.active.lock();
            if active.contains_key(name) {
                return Err(Error::AlreadyTraining { model: name.to_string() });
            }
            let summary = RunSummary {
                model: name.clone(),
                run: run.clone(),
                epoch: 0,
                epochs,
                val_roc_auc: None,
                started_unix_ms: unix_ms(),
            };
            let (events, cancel) = (events.clone(), cancel.clone());
            active.insert(name.clone(), ActiveRun { run: run.clone(), summary, events, cancel, idle });
            metrics::RUNS_ACTIVE.set(i64::try_from(active.len()).unwrap_or(i64::MAX));
        }
        let guard = Deregister { active: Arc::clone(&inner.active), name: name.clone(), _busy: busy };
        let context = RunContext {
            jobs: inner.jobs.clone(),
            store: inner.store.clone(),
            events,
            active: Arc::clone(&inner.active),
            cancel,
            workers: inner.executors.devices().max(1),
            threads: inner.executors.threads().unwrap_or(inner.threads),
            parameters: inner.parameters.clone(),
        };
        Ok(Registered { context, events: watcher, guard })
    }
}
