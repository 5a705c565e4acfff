//! What can go wrong in a run.

use datafusion::error::DataFusionError;
use tusk_core::error::first_cause;
use tusk_core::manifest::RunRecord;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The contract was broken, or the store failed.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be planned or read.
    #[error("{}", message_of(source))]
    Query {
        /// DataFusion's or Ballista's error.
        source: Box<DataFusionError>,
    },
    /// A job failed on the cluster, after its retries.
    #[error("{phase} failed: {reason}")]
    Job {
        /// Which job.
        phase: String,
        /// The executor's own words.
        reason: String,
    },
    /// A job ended without an answer, and not by its own fault: an executor was lost, or the way to it.
    #[error("{phase} was lost: {reason}")]
    Lost {
        /// Which job.
        phase: String,
        /// What happened.
        reason: String,
    },
    /// A job was lost as often as it may be.
    #[error("{phase} failed after {attempts} attempts; the last error: {reason}. Check the executors")]
    GivenUp {
        /// Which job.
        phase: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        reason: String,
    },
    /// The scheduler of this process could not be set up.
    #[error("the scheduler cannot start: {reason}")]
    Cluster {
        /// What happened.
        reason: String,
    },
    /// A scheduler elsewhere refused a statement.
    #[error("{message}")]
    Refused {
        /// Its own words.
        message: String,
    },
    /// What this session cannot do.
    #[error("{what} runs on the scheduler: use TuskContext::sql, or tusk sql --scheduler")]
    NotHere {
        /// What was asked.
        what: &'static str,
    },
    /// The scheduler cannot be reached.
    #[error("cannot reach the scheduler at {url}: {reason}. Check that it is running and that the address is correct")]
    Scheduler {
        /// Its address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A worker's update cannot be averaged.
    #[error("invalid update from worker {worker}: {reason}")]
    Update {
        /// Who.
        worker: u32,
        /// What is wrong.
        reason: String,
    },
    /// The run was cancelled.
    #[error("training of '{model}' was cancelled after {epochs} epochs. Continue it with OPTIONS (resume = true)")]
    Cancelled {
        /// The model.
        model: String,
        /// Epochs whose checkpoints are kept.
        epochs: usize,
    },
    /// Two runs for one name.
    #[error(
        "model '{model}' is already being trained; SHOW TRAINING {model} shows it, CANCEL TRAINING {model} stops it"
    )]
    AlreadyTraining {
        /// The model.
        model: String,
    },
    /// Nothing to cancel or to show.
    #[error("no training of '{model}' {what}")]
    NoTraining {
        /// The model.
        model: String,
        /// What was looked for.
        what: &'static str,
    },
    /// A resumed statement that asks for something else.
    #[error(
        "cannot resume training of '{}': {reason}. Repeat the original statement, or remove resume to start over",
        record.model
    )]
    CannotResume {
        /// The run that is there.
        record: Box<RunRecord>,
        /// What differs.
        reason: String,
    },
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query { source } => *source,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(source: DataFusionError) -> Self {
        Self::Query { source: Box::new(source) }
    }
}

/// A query's error without the wrappings of the jobs and tasks it went through.
fn message_of(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    if text.contains("Job ") && text.contains(" failed") { first_cause(&text) } else { text }
}
