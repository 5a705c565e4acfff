//! What can go wrong for a user of the library.

use datafusion::error::DataFusionError;
use tusk_core::error::first_cause;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A statement, an option, a model or the store.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// A training run.
    #[error(transparent)]
    Training(#[from] tusk_scheduler::Error),
    /// A query.
    #[error("{}", message_of(source))]
    Query {
        /// DataFusion's or Ballista's error.
        source: Box<DataFusionError>,
    },
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
