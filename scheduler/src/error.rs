//! The errors of this crate.

use datafusion::error::DataFusionError;
use tusk_core::cause::{Cause, CauseKind};
use tusk_core::manifest::RunRecord;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of `tusk-core`, such as an invalid request or a failed store.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be planned or read.
    #[error("{}", Cause::of(source))]
    Query {
        /// DataFusion's or Ballista's error.
        source: Box<DataFusionError>,
    },
    /// A job failed and would fail again.
    #[error("{phase} failed: {reason}")]
    Job {
        /// The job.
        phase: String,
        /// What happened.
        reason: String,
    },
    /// A task of a job failed with its own error.
    #[error("{phase} failed: {cause}")]
    Task {
        /// The job.
        phase: String,
        /// The error of the task.
        cause: Cause,
    },
    /// A job ended without output because an executor, or the connection to it, was lost.
    #[error("{phase} was lost: {reason}")]
    Lost {
        /// The job.
        phase: String,
        /// What happened.
        reason: String,
    },
    /// A job was lost in every attempt.
    #[error("{phase} failed after {attempts} attempts; the last error: {reason}. Check the executors")]
    GivenUp {
        /// The job.
        phase: String,
        /// The number of attempts.
        attempts: u32,
        /// The last error.
        reason: String,
    },
    /// The scheduler of this process could not be set up.
    #[error("the scheduler cannot start: {reason}")]
    Cluster {
        /// What happened.
        reason: String,
    },
    /// A password that cannot be hashed.
    #[error("the password cannot be hashed: {reason}")]
    Password {
        /// The error of the library.
        reason: String,
    },
    /// A watched run failed. Its error is read from its record.
    #[error("{message}")]
    RunFailed {
        /// The error in its record.
        message: String,
    },
    /// A statement that this session cannot execute.
    #[error("{what} runs on the scheduler: use TuskContext::sql, or tusk sql --scheduler")]
    NotHere {
        /// The kind of statement.
        what: &'static str,
    },
    /// A worker's update cannot be averaged.
    #[error("invalid update from worker {worker}: {reason}")]
    Update {
        /// The worker.
        worker: u32,
        /// What is wrong.
        reason: String,
    },
    /// The run was cancelled.
    #[error("training of '{model}' was cancelled after {epochs} epochs. Continue it with OPTIONS (resume = true)")]
    Cancelled {
        /// The model.
        model: String,
        /// The number of finished epochs.
        epochs: usize,
    },
    /// The name after AS belongs to another model.
    #[error(
        "model '{name}' exists, and ADAPT MODEL replaces no other model than the one it adapts. Choose another name after AS, or \
         DROP MODEL {name}"
    )]
    TargetExists {
        /// The name.
        name: String,
    },
    /// An adaptation was cancelled.
    #[error("adapting '{model}' was cancelled; the model is as it was. Run the statement again")]
    AdaptingCancelled {
        /// The model that would have been published.
        model: String,
    },
    /// The model already has an active run.
    #[error(
        "model '{model}' is already being trained; SHOW TRAINING {model} shows it, CANCEL TRAINING {model} stops it"
    )]
    AlreadyTraining {
        /// The model.
        model: String,
    },
    /// There is no such run to cancel or to show.
    #[error("no training of '{model}' {what}")]
    NoTraining {
        /// The model.
        model: String,
        /// The missing state.
        what: &'static str,
    },
    /// The statement or its rows differ from those of the run to resume.
    #[error(
        "cannot resume training of '{}': {reason}. Repeat the original statement, or remove resume to start over",
        record.model
    )]
    CannotResume {
        /// The record of the run.
        record: Box<RunRecord>,
        /// The difference.
        reason: String,
    },
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The rows of a statement, with the errors of this crate.
pub type Results = tusk_core::results::Results<Error>;

impl Error {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> CauseKind {
        match self {
            Self::Core(error) => error.kind(),
            Self::Query { source } => Cause::of(source).kind,
            Self::Task { cause, .. } => cause.kind,
            Self::AlreadyTraining { .. } | Self::TargetExists { .. } => CauseKind::Exists,
            Self::NoTraining { .. } => CauseKind::NotFound,
            Self::CannotResume { .. } | Self::NotHere { .. } => CauseKind::Invalid,
            Self::Job { .. }
            | Self::Lost { .. }
            | Self::GivenUp { .. }
            | Self::Cluster { .. }
            | Self::Password { .. }
            | Self::Update { .. }
            | Self::RunFailed { .. }
            | Self::AdaptingCancelled { .. }
            | Self::Cancelled { .. } => CauseKind::Internal,
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query { source } => *source,
            Error::Core(source) => source.into(),
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

impl From<DataFusionError> for Error {
    /// Unwraps the errors of Tusk that DataFusion wraps.
    fn from(error: DataFusionError) -> Self {
        let DataFusionError::External(inner) = error else { return Self::Query { source: Box::new(error) } };
        match inner.downcast::<Self>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<tusk_core::Error>() {
                Ok(error) => Self::Core(*error),
                Err(inner) => Self::Query { source: Box::new(DataFusionError::External(inner)) },
            },
        }
    }
}
