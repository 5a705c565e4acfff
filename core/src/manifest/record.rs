//! The record of a run, from which it can be resumed.

use serde::{Deserialize, Serialize};

use super::{DataProfile, EpochReport, FileRef, ModelDefinition, THREADS_MAX, Timing, WORKERS_MAX};
use crate::ids::{ModelName, RunId};
use crate::options::OptionValue;
use crate::transfer::Transfer;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It is running, or its process has ended.
    Running,
    /// The model is published.
    Finished,
    /// It was cancelled and can be resumed.
    Cancelled,
    /// It failed and can be resumed.
    Failed,
}

impl RunStatus {
    /// Returns the word that SHOW TRAINING prints.
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

/// The record of a run, written after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The model that it trains.
    pub model: ModelName,
    /// The state.
    pub status: RunStatus,
    /// The error, if it failed.
    pub error: Option<String>,
    /// When it was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The definition of the model. A statement that resumes the run must have the same spec.
    pub definition: ModelDefinition,
    /// Number of workers.
    pub workers: u32,
    /// Threads per worker. They affect the order of floating-point operations, so a resumed run uses the same number.
    pub threads: u32,
    /// Statistics of the rows.
    pub data: DataProfile,
    /// Seconds of the profile job, including decoding.
    pub profile_seconds: f64,
    /// Seconds of decoding, summed over workers.
    pub profile_timing: Timing,
    /// Which initial weights fit, if the run did not start from random weights.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// The finished epochs.
    pub epochs: Vec<EpochReport>,
    /// The best epoch.
    pub best_epoch: Option<u32>,
    /// Weights and moments after the last epoch.
    pub last: Option<FileRef>,
    /// Weights after the best epoch.
    pub best: Option<FileRef>,
    /// The progress of the workers of an asynchronous or hogwild run. `None` in synchronous mode.
    #[serde(default)]
    pub exchange: Option<ExchangeRecord>,
    /// Content hashes of leaked rows that are left out of training, sorted.
    #[serde(default)]
    pub dropped: Vec<u64>,
    /// The folds or trials of the run, in order.
    #[serde(default, alias = "parts")]
    pub children: Vec<ChildRun>,
}

/// A run inside a run: a fold of a cross-validation, or a trial of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildRun {
    /// Its name within the run, such as `fold-1`.
    pub name: String,
    /// The options of the trial.
    pub options: Vec<(String, OptionValue)>,
    /// The state.
    pub status: ChildStatus,
    /// Number of trained epochs.
    pub epochs: u32,
    /// The objective at its best epoch.
    pub objective: Option<f64>,
    /// Wall time of its epochs.
    pub seconds: f64,
    /// The error, if it failed.
    pub error: Option<String>,
}

/// The state of a child run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildStatus {
    /// It has not started.
    Waiting,
    /// It is running, or paused until other trials have trained as many epochs.
    Running,
    /// It has finished.
    Finished,
    /// It was stopped because other trials were better.
    Stopped,
    /// It failed.
    Failed,
}

impl ChildStatus {
    /// Returns the word that SHOW TRIALS prints.
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

/// The progress of the workers of an asynchronous run at its last checkpoint. A resumed worker continues at the next
/// batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    /// The progress and staleness of each worker.
    pub workers: Vec<WorkerExchange>,
    /// Epochs that some workers have started and not all have finished.
    pub open: Vec<EpochTally>,
    /// Epochs with a checkpoint that are not validated yet.
    pub unvalidated: Vec<Unvalidated>,
}

impl ExchangeRecord {
    /// The staleness of the pushes of all workers.
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
    /// The number of the last applied push, from 1.
    pub step: u64,
    /// The number of finished epochs.
    pub epochs: u32,
    /// The staleness of its pushes.
    pub staleness: Staleness,
}

/// Statistics of staleness: the number of pushes by other workers between a pull and a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Staleness {
    /// Number of pushes.
    pub pushes: u64,
    /// Sum of the staleness.
    pub sum: u64,
    /// Maximum staleness.
    pub max: u64,
}

impl Staleness {
    /// Adds a push.
    pub fn count(&mut self, staleness: u64) {
        self.pushes += 1;
        self.sum = self.sum.saturating_add(staleness);
        self.max = self.max.max(staleness);
    }

    /// Returns the mean, or `None` before the first push.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.pushes > 0).then(|| self.sum as f64 / self.pushes as f64)
    }
}

/// Sums over the workers of an epoch of an asynchronous run.
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
    /// Number of workers that have finished it.
    pub workers: u32,
    /// Decoded images.
    pub decoded: u64,
    /// Times of the workers.
    pub timing: Timing,
    /// Wall time since the previous epoch.
    pub seconds: f64,
}

/// Epochs whose checkpoint is written and not validated yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unvalidated {
    /// The epochs that finished before the checkpoint. There may be several if the checkpoint was late.
    pub epochs: Vec<EpochTally>,
    /// The checkpoint.
    pub file: FileRef,
}

impl RunRecord {
    /// Checks that the run can be resumed.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
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
