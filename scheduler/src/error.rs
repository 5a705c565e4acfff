//! What can go wrong in a run.

use datafusion::error::DataFusionError;
use tusk_core::manifest::RunRecord;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The contract was broken, or the store failed.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be planned or read.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    /// A job failed on the cluster, after its retries.
    #[error("{phase} failed: {reason}")]
    Job {
        /// Which job.
        phase: String,
        /// The executor's own words.
        reason: String,
    },
    /// The scheduler cannot be reached.
    #[error("the scheduler at {url} cannot be reached: {reason}. Check that it runs and that the address is right")]
    Scheduler {
        /// Its address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A worker's update cannot be averaged.
    #[error("worker {worker} sent an update that cannot be averaged: {reason}")]
    Update {
        /// Who.
        worker: u32,
        /// What is wrong.
        reason: String,
    },
    /// The run was cancelled.
    #[error("training of '{model}' was cancelled; epochs kept: {epochs}. OPTIONS (resume = true) goes on from there")]
    Cancelled {
        /// The model.
        model: String,
        /// Epochs whose checkpoints are kept.
        epochs: usize,
    },
    /// Two runs for one name.
    #[error(
        "model '{model}' is being trained already; SHOW TRAINING {model} shows it, CANCEL TRAINING {model} ends it"
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
        "training of '{}' cannot be resumed: {reason}. Repeat the statement as it was, or leave out resume to start \
         again",
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
            Error::DataFusion(inner) => inner,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}
