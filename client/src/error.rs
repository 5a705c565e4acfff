//! The errors of the library.

use std::error::Error as StdError;

use datafusion::error::DataFusionError;
use tusk_core::cause::Cause;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A statement does not parse, an option, a name or a table is invalid, or the model store failed.
    #[error(transparent)]
    Core {
        /// What is wrong, and what to do.
        #[from]
        source: tusk_core::Error,
    },
    /// A query failed, either when it was planned or in a task of the cluster.
    #[error("{}", Cause::of(source))]
    Query {
        /// DataFusion's or Ballista's error.
        source: Box<DataFusionError>,
    },
    /// An environment variable has an invalid value.
    #[error("the environment variable {variable} is '{value}'; it takes {expected}. Correct it or unset it")]
    Variable {
        /// The name of the variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The values that it accepts.
        expected: &'static str,
    },
    /// The scheduler cannot be reached.
    #[error("cannot reach the scheduler at {url}: {reason}. Check that it is running and that the address is correct")]
    Unreachable {
        /// The address of the scheduler.
        url: String,
        /// Why the connection failed.
        reason: String,
    },
    /// A remote scheduler refused a statement, or one of its runs failed.
    #[error("{message}")]
    Refused {
        /// The message of the scheduler.
        message: String,
    },
    /// A training run was cancelled.
    #[error("training of '{model}' was cancelled after {epochs} epochs. Continue it with OPTIONS (resume = true)")]
    Cancelled {
        /// The name of the model.
        model: String,
        /// The number of epochs that have a checkpoint.
        epochs: usize,
    },
    /// The embedded cluster refused a statement, failed in a run, or cannot start.
    #[error(transparent)]
    Embedded {
        /// The error of the cluster.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The rows of a statement. CREATE MODEL returns one row per epoch, as soon as the epoch is finished.
pub type Results = tusk_core::results::Results<Error>;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query { source } => *source,
            Error::Core { source } => source.into(),
            other => Self::External(Box::new(other)),
        }
    }
}

impl From<DataFusionError> for Error {
    /// Returns an error of this crate unchanged if DataFusion only wrapped it.
    fn from(error: DataFusionError) -> Self {
        #[cfg(feature = "embedded")]
        let error = match tusk_scheduler::Error::from(error) {
            tusk_scheduler::Error::Query { source } => *source,
            other => return other.into(),
        };
        let DataFusionError::External(inner) = error else { return Self::Query { source: Box::new(error) } };
        match inner.downcast::<Self>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<tusk_core::Error>() {
                Ok(source) => Self::Core { source: *source },
                Err(inner) => Self::Query { source: Box::new(DataFusionError::External(inner)) },
            },
        }
    }
}

#[cfg(feature = "embedded")]
impl From<tusk_scheduler::Error> for Error {
    fn from(error: tusk_scheduler::Error) -> Self {
        match error {
            tusk_scheduler::Error::Core(source) => Self::Core { source },
            tusk_scheduler::Error::Query { source } => Self::Query { source },
            tusk_scheduler::Error::Cancelled { model, epochs } => Self::Cancelled { model, epochs },
            other => Self::Embedded { source: Box::new(other) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_this_crate_is_unchanged_by_datafusion() {
        let refused = Error::from(DataFusionError::from(Error::Refused { message: "no".to_owned() }));
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
        let missing = || tusk_core::Error::Data { message: "the query has no rows".to_owned() };
        assert!(matches!(Error::from(DataFusionError::from(missing())), Error::Core { .. }));
        let query = Error::from(DataFusionError::Execution(Cause::of_text("x-ray 7 is bad").to_wire()));
        assert!(matches!(query, Error::Query { .. }), "{query:?}");
        assert_eq!(query.to_string(), "x-ray 7 is bad");
    }
}
