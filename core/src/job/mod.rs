//! The jobs of a run: what each one asks of a worker, what a worker reports, and the arrays it answers with.
//!
//! A job has a file of its own name in three crates: here its input, its report and its arrays; in the executor what a
//! worker does; in the scheduler what becomes of the answers. It is a variant of [`Job`].

mod exchange;
mod fit_weights;
mod profile;
mod report;
mod train;
mod validate;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use exchange::{Exchange, ExchangeReport};
pub use fit_weights::{FitWeights, FitWeightsReport};
pub use profile::{Profile, ProfileReport, RowHashes, UnreadableImage};
pub use report::{Report, TaskReport};
pub use train::{EpochSlice, Train, TrainReport};
pub use validate::{Scores, Validate, ValidateReport};

use crate::ids::{RunId, WorkerId};
use crate::manifest::ModelDefinition;

/// Which of its rows a worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// All of them.
    All,
    /// Those that are not held out.
    Training,
    /// Those that are held out.
    HeldOut,
}

/// The rows that a worker learns from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Which rows.
    pub rows: Rows,
    /// Content hashes of rows that are not trained on; sorted.
    pub dropped: Vec<u64>,
}

/// What a job asks of every worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Decode the rows into shards and count them.
    Profile(Profile),
    /// Fit the weights of another model or file to the net.
    FitWeights(FitWeights),
    /// Train an epoch, or a slice of one.
    Train(Train),
    /// Train all epochs, exchanging weights with the parameter server.
    Exchange(Exchange),
    /// Score rows.
    Validate(Validate),
}

impl Job {
    /// Its name in plans, logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profile",
            Self::FitWeights(_) => "fit_weights",
            Self::Train(_) => "train",
            Self::Exchange(_) => "exchange",
            Self::Validate(_) => "validate",
        }
    }

    /// The epoch, from 1: the one that is trained or validated, or the first of those that an exchange trains.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        match self {
            Self::Profile(_) | Self::FitWeights(_) => None,
            Self::Train(job) => Some(job.epoch),
            Self::Exchange(job) => Some(job.first_epoch),
            Self::Validate(job) => Some(job.epoch),
        }
    }
}

/// As EXPLAIN shows it: the name, then what tells it from other jobs of its kind.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input: &dyn fmt::Display = match self {
            Self::Profile(job) => job,
            Self::FitWeights(job) => job,
            Self::Train(job) => job,
            Self::Exchange(job) => job,
            Self::Validate(job) => job,
        };
        write!(f, "{}, {input}", self.name())
    }
}

/// The input of a kind of job.
pub trait JobInput: Into<Job> {
    /// What a worker reports on it.
    type Report: Report;
}

/// A job with what every job of its run has: with a worker's number and the rows it is a pure function, so that a task
/// that is tried again, anywhere, answers the same. An exchange is the exception: its answer depends on the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainTask {
    /// The run.
    pub run: RunId,
    /// The workers that share the table.
    pub workers: u32,
    /// Threads that each uses.
    pub threads: u32,
    /// The model; while profiling its classes are empty and its normalisation is not known yet.
    pub definition: ModelDefinition,
    /// The model store's URL.
    pub store: String,
    /// The checksum of the source's plan: with the preprocessing it tells which decoded shard serves.
    pub source_checksum: String,
    /// What is done.
    pub job: Job,
}

impl TrainTask {
    /// The name of the decoded shard that a worker of this task reads: the same for every job over the same rows, pixels
    /// and number of workers, whichever run it belongs to.
    #[must_use]
    pub fn shard_key(&self, worker: WorkerId) -> String {
        let Self { source_checksum, workers, definition, .. } = self;
        format!("{source_checksum} worker {worker} of {workers} at {}", definition.preprocessing.pixels())
    }
}
