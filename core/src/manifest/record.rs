//! A run that may not be finished: enough to go on with it.

use serde::{Deserialize, Serialize};

use super::{DataProfile, EpochReport, FileRef, ModelDefinition, THREADS_MAX, Timing, WORKERS_MAX};
use crate::ids::{ModelName, RunId};
use crate::options::OptionValue;
use crate::transfer::Transfer;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Epochs are under way (or the process that ran them is gone).
    Running,
    /// The model is published.
    Finished,
    /// It was cancelled and can be resumed.
    Cancelled,
    /// It failed and can be resumed.
    Failed,
}

impl RunStatus {
    /// The word that SHOW TRAINING shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// Everything needed to go on with a run, written after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The model it is to become.
    pub model: ModelName,
    /// How far it is.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What it trains; its spec is what a resumed statement must ask for.
    pub definition: ModelDefinition,
    /// Workers.
    pub workers: u32,
    /// Threads per worker: part of the arithmetic's order, so part of the run.
    pub threads: u32,
    /// The rows.
    pub data: DataProfile,
    /// Seconds of the profile job, with the decoding in it.
    pub profile_seconds: f64,
    /// The decoding in it, added up over workers.
    pub profile_timing: Timing,
    /// What became of the weights it started from, where these were not the seed's.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Epochs so far.
    pub epochs: Vec<EpochReport>,
    /// The best of them.
    pub best_epoch: Option<u32>,
    /// Weights and moments after the last epoch.
    pub last: Option<FileRef>,
    /// Weights after the best epoch.
    pub best: Option<FileRef>,
    /// How far the workers are that exchange by the parameter server; `None` in synchronous mode.
    #[serde(default)]
    pub exchange: Option<ExchangeRecord>,
    /// Content hashes of rows that are not trained on, because they are among the validation rows; sorted.
    #[serde(default)]
    pub dropped: Vec<u64>,
    /// The folds or trials that the run is made of, in their order.
    #[serde(default)]
    pub parts: Vec<PartRecord>,
}

/// A fold, or a trial of a search: a run of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its name within the run, such as `fold-1`.
    pub name: String,
    /// The options that it tries.
    pub options: Vec<(String, OptionValue)>,
    /// How far it is.
    pub status: PartStatus,
    /// Epochs it has trained.
    pub epochs: u32,
    /// What it is compared by, at its best epoch.
    pub objective: Option<f64>,
    /// Wall time of its epochs.
    pub seconds: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartStatus {
    /// It has not begun.
    Waiting,
    /// It is being trained, or waits for others to come as far.
    Running,
    /// It has trained to its end.
    Finished,
    /// It was stopped early: others were better.
    Stopped,
    /// It could not be trained.
    Failed,
}

impl PartStatus {
    /// The word that SHOW TRIALS shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// How far the workers of an asynchronous run are, as of its last checkpoint: with it every worker goes on at the batch
/// where it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    /// Per worker, how far it is and how stale its pushes were.
    pub workers: Vec<WorkerExchange>,
    /// Epochs that some workers have begun and not all have ended, and what is known of them.
    pub open: Vec<EpochTally>,
    /// Epochs that are checkpointed and not validated yet.
    pub unvalidated: Vec<Unvalidated>,
}

impl ExchangeRecord {
    /// How stale the pushes of all workers were.
    #[must_use]
    pub fn staleness(&self) -> Staleness {
        self.workers.iter().fold(Staleness::default(), |all, worker| Staleness {
            pushes: all.pushes + worker.staleness.pushes,
            sum: all.sum.saturating_add(worker.staleness.sum),
            max: all.max.max(worker.staleness.max),
        })
    }
}

/// One worker of an asynchronous run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerExchange {
    /// The last push that was applied; they are numbered from 1.
    pub step: u64,
    /// The epochs it has ended.
    pub epochs: u32,
    /// How stale its pushes were.
    pub staleness: Staleness,
}

/// Staleness of a worker's pushes: how many pushes of others were applied between its pull and its push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Staleness {
    /// Pushes counted.
    pub pushes: u64,
    /// The sum over them.
    pub sum: u64,
    /// The largest.
    pub max: u64,
}

impl Staleness {
    /// Counts a push.
    pub fn count(&mut self, staleness: u64) {
        self.pushes += 1;
        self.sum = self.sum.saturating_add(staleness);
        self.max = self.max.max(staleness);
    }

    /// The mean; `None` before the first push.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.pushes > 0).then(|| self.sum as f64 / self.pushes as f64)
    }
}

/// What is known of an epoch of an asynchronous run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochTally {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Rows trained on.
    pub rows: u64,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Workers that have ended it.
    pub workers: u32,
    /// Images that had to be decoded for it.
    pub decoded: u64,
    /// Where their time went.
    pub timing: Timing,
    /// Wall time since the epoch before.
    pub seconds: f64,
}

/// Epochs whose checkpoint is written and whose validation is still to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unvalidated {
    /// Epochs that ended before the checkpoint was taken; more than one where the checkpoint came late.
    pub epochs: Vec<EpochTally>,
    /// The checkpoint.
    pub file: FileRef,
}

impl RunRecord {
    /// Whether the run can be gone on with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Self { workers, threads, .. } = self;
        if !(1..=WORKERS_MAX).contains(workers) || !(1..=THREADS_MAX).contains(threads) {
            return Err(format!(
                "a run must have 1 to {WORKERS_MAX} workers of 1 to {THREADS_MAX} threads, got {workers} workers of {threads} \
                 threads"
            ));
        }
        self.definition.check_net()
    }
}
