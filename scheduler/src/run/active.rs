//! The active runs of this process.

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
    /// Whether runs were active when the process ended. The next process resumes them.
    go_on: AtomicBool,
}

/// An active run and the channels to it.
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

    /// Records that the process ends. The next process resumes the active runs.
    pub(crate) fn end(&self) {
        self.go_on.store(!self.lock().is_empty(), Ordering::Relaxed);
    }

    /// Returns whether a run may still read the tables of sessions: now, or after a restart.
    pub(crate) fn may_read(&self) -> bool {
        self.go_on.load(Ordering::Relaxed) || !self.lock().is_empty()
    }

    /// Records a finished epoch of a run or of a child run.
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
                // Having no receiver is not an error.
                drop(active.events.send(RunEvent::Progress(progress.clone())));
            }
        }
    }
}

/// A guard that removes a run from the list when dropped, however the run ends.
pub(crate) struct Deregister {
    pub(crate) active: Arc<ActiveRuns>,
    pub(crate) name: ModelName,
    /// Dropped with this value, which wakes all tasks that wait for the end of the run.
    pub(crate) _busy: watch::Sender<()>,
}

impl Deregister {
    /// Changes the id of the run, because a resumed run keeps its id.
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
