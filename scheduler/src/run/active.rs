//! The runs under way in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tusk_core::event::{Progress, ProgressSink, RunEvent};
use tusk_core::ids::{ModelName, RunId};
use tusk_core::manifest::EpochReport;
use tusk_core::protocol::RunSummary;

use crate::metrics;

/// The active runs. Forwards the progress of the executors to the watchers.
#[derive(Debug, Default)]
pub(crate) struct ActiveRuns {
    runs: Mutex<HashMap<ModelName, ActiveRun>>,
    /// Whether the process ended while there were some.
    go_on: AtomicBool,
}

/// A run and what it is spoken to with.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) run: RunId,
    pub(crate) summary: RunSummary,
    pub(crate) events: broadcast::Sender<RunEvent>,
    pub(crate) cancel: CancellationToken,
    pub(crate) idle: watch::Receiver<()>,
}

impl ActiveRuns {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ModelName, ActiveRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the process ends: what is under way goes on in the next one.
    pub(crate) fn end(&self) {
        self.go_on.store(!self.lock().is_empty(), Ordering::Relaxed);
    }

    /// Whether some run may still read the tables of sessions.
    pub(crate) fn may_read(&self) -> bool {
        self.go_on.load(Ordering::Relaxed) || !self.lock().is_empty()
    }

    /// Notes a finished epoch of a run or of a child run.
    pub(crate) fn epoch_done(&self, run: &RunId, epoch: &EpochReport) {
        for active in self.lock().values_mut().filter(|active| run.belongs_to(&active.run)) {
            active.summary.epoch = epoch.epoch;
            active.summary.val_roc_auc = epoch.val_roc_auc;
        }
    }
}

impl ProgressSink for ActiveRuns {
    fn report(&self, progress: Progress) {
        for active in self.lock().values() {
            if progress.run.belongs_to(&active.run) {
                // Nobody has to listen.
                drop(active.events.send(RunEvent::Progress(progress.clone())));
            }
        }
    }
}

/// Takes a run off the list however it ends.
pub(crate) struct Deregister {
    pub(crate) active: Arc<ActiveRuns>,
    pub(crate) name: ModelName,
    /// Dropped with this, which wakes all that wait for the end of the run.
    pub(crate) _busy: watch::Sender<()>,
}

impl Deregister {
    /// A resumed run keeps the id it had.
    pub(crate) fn rename(&self, run: &RunId) {
        if let Some(active) = self.active.lock().get_mut(&self.name) {
            active.run = run.clone();
            active.summary.run = run.clone();
        }
    }
}

impl Drop for Deregister {
    fn drop(&mut self) {
        let mut active = self.active.lock();
        active.remove(&self.name);
        metrics::RUNS_ACTIVE.set(i64::try_from(active.len()).unwrap_or(i64::MAX));
    }
}
