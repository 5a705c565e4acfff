//! The jobs of a run: the input, the report and the output arrays of each.
//!
//! Each job is a variant of [`Job`] and has a file of its name in three crates: its types are here, the computation is
//! in the executor, and the use of the task outputs is in the scheduler.

mod adapt;
mod exchange;
mod fit_weights;
mod profile;
mod report;
mod train;
mod validate;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use adapt::{Adapt, AdaptReport, LayerStatistics, Statistics};
pub use exchange::{Exchange, ExchangeReport};
pub use fit_weights::{FitWeights, FitWeightsReport};
pub use profile::{Profile, ProfileReport, RowHashes, UnreadableImage};
pub use report::{Report, TaskReport};
pub use train::{EpochSlice, Train, TrainReport};
pub use validate::{Scores, Validate, ValidateReport};

use crate::ids::{RunId, WorkerId};
use crate::manifest::ModelDefinition;

/// Which rows of its shard a worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// All rows.
    All,
    /// Rows that are not held out.
    Training,
    /// Rows that are held out.
    HeldOut,
}

/// The training rows of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Which rows.
    pub rows: Rows,
    /// Content hashes of rows that are left out, sorted.
    pub dropped: Vec<u64>,
}

/// A job with its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Decode the rows into shards and count classes and pixels.
    Profile(Profile),
    /// Fit the weights of another model or file to the net.
    FitWeights(FitWeights),
    /// Train an epoch slice.
    Train(Train),
    /// Train all epochs and exchange weights with the parameter server.
    Exchange(Exchange),
    /// Score rows.
    Validate(Validate),
    /// Measure the statistics of rows at the normalisation layers.
    Adapt(Adapt),
}

impl Job {
    /// The name in plans, logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profile",
            Self::FitWeights(_) => "fit_weights",
            Self::Train(_) => "train",
            Self::Exchange(_) => "exchange",
            Self::Validate(_) => "validate",
            Self::Adapt(_) => "adapt",
        }
    }

    /// The epoch that is trained or validated, or the first epoch of an exchange, from 1.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        match self {
            Self::Profile(_) | Self::FitWeights(_) | Self::Adapt(_) => None,
            Self::Train(job) => Some(job.epoch),
            Self::Exchange(job) => Some(job.first_epoch),
            Self::Validate(job) => Some(job.epoch),
        }
    }
}

/// Formats the job for EXPLAIN: the name and its parameters.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input: &dyn fmt::Display = match self {
            Self::Profile(job) => job,
            Self::FitWeights(job) => job,
            Self::Train(job) => job,
            Self::Exchange(job) => job,
            Self::Validate(job) => job,
            Self::Adapt(job) => job,
        };
        write!(f, "{}, {input}", self.name())
    }
}

/// The input of one kind of job.
pub trait JobInput: Into<Job> {
    /// The report of a worker.
    type Report: Report;
}

/// A job and the properties that all jobs of its run share. The task output is a pure function of the task, the worker
/// and the rows, so a retried task has the same output on any executor. The exchange job is the exception, because it
/// depends on the parameter server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainTask {
    /// The run.
    pub run: RunId,
    /// The number of workers that share the table.
    pub workers: u32,
    /// Threads per worker.
    pub threads: u32,
    /// The model. During the profile job its classes are empty and its normalisation is not known yet.
    pub definition: ModelDefinition,
    /// The model store's URL.
    pub store: String,
    /// The checksum of the plan of the source. With the preprocessing it identifies decoded shards.
    pub source_checksum: String,
    /// The job.
    pub job: Job,
}

impl TrainTask {
    /// Returns the key of the decoded shard of a worker. It is the same for all jobs, of any run, with the same rows,
    /// preprocessing and number of workers.
    #[must_use]
    pub fn shard_key(&self, worker: WorkerId) -> String {
        let Self { source_checksum, workers, definition, .. } = self;
        format!("{source_checksum} worker {worker} of {workers} at {}", definition.preprocessing.pixels())
    }
}
