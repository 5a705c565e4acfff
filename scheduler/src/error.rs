//! What can go wrong in a run.

use datafusion::error::DataFusionError;
use tusk_core::cause::{Cause, CauseKind};
use tusk_core::manifest::RunRecord;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The contract was broken, or the store failed.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be planned or read.
    #[error("{}", Cause::of(source))]
    Query {
        /// DataFusion's or Ballista's error.
        source: Box<DataFusionError>,
    },
    /// A job failed, and would fail again.
    #[error("{phase} failed: {reason}")]
    Job {
        /// Which job.
        phase: String,
        /// What happened.
        reason: String,
    },
    /// A task of a job failed by its own fault.
    #[error("{phase} failed: {cause}")]
    Task {
        /// Which job.
        phase: String,
        /// What it failed with.
        cause: Cause,
    },
    /// A job ended without output because an executor, or the connection to it, was lost.
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
    /// A password that cannot be hashed.
    #[error("the password cannot be hashed: {reason}")]
    Password {
        /// The library's words.
        reason: String,
    },
    /// What a run that another process of this scheduler ended has failed with.
    #[error("{message}")]
    RunFailed {
        /// As its record says.
        message: String,
    },
    /// What this session cannot do.
    #[error("{what} runs on the scheduler: use TuskContext::sql, or tusk sql --scheduler")]
    NotHere {
        /// What was asked.
        what: &'static str,
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

/// The rows of a statement, which fail with this crate's error.
pub type Results = tusk_core::results::Results<Error>;

impl Error {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> CauseKind {
        match self {
            Self::Core(error) => error.kind(),
            Self::Query { source } => Cause::of(source).kind,
            Self::Task { cause, .. } => cause.kind,
            Self::AlreadyTraining { .. } => CauseKind::Exists,
            Self::NoTraining { .. } => CauseKind::NotFound,
            Self::CannotResume { .. } | Self::NotHere { .. } => CauseKind::Invalid,
            Self::Job { .. }
            | Self::Lost { .. }
            | Self::GivenUp { .. }
            | Self::Cluster { .. }
            | Self::Password { .. }
            | Self::Update { .. }
            | Self::RunFailed { .. }
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
    /// Ours, which DataFusion carried, come out as they went in.
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
