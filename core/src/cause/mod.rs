//! The root cause of a failed query or task.
//!
//! An error of a task is wrapped several times before a user sees it: DataFusion shares it, and Ballista formats it
//! with `Debug` into messages that quote each other. Executors therefore convert it to a [`Cause`] while it still has a
//! type (`stage` in `tusk_executor`), and encode it as text that survives quoting (`wire`). Errors that Ballista
//! formats elsewhere, such as while it plans a job, are parsed from their `Debug` form (`debug`).

mod debug;
pub(crate) mod kind;
#[cfg(test)]
mod tests;
mod wire;

use std::error::Error as StdError;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::error::Error;

pub use kind::CauseKind;

/// The words in the message of tokio for a panicked task.
const PANICKED: &str = "panicked with message ";

/// The cause of a failure, with a message for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct Cause {
    /// The kind of the failure.
    pub kind: CauseKind,
    /// The message, without the names of wrapping errors.
    pub message: String,
    /// What to do, if the message does not say it.
    pub hint: Option<String>,
}

impl Cause {
    fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Finds the root cause of an error.
    #[must_use]
    pub fn of(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::Context(what, inner) => Self::of(inner).within(what),
            DataFusionError::Diagnostic(_, inner) => Self::of(inner),
            DataFusionError::Shared(inner) => Self::of(inner),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::of(first),
                None => Self::new(CauseKind::Internal, "no reason is given"),
            },
            DataFusionError::ArrowError(inner, _) => Self::of_arrow(inner),
            DataFusionError::External(inner) => Self::of_any(inner.as_ref()),
            DataFusionError::Execution(text) => Self::of_text(text),
            DataFusionError::IoError(inner) => Self::of_io(inner, &error.strip_backtrace()),
            DataFusionError::ObjectStore(inner) => Self::new(kind_of_store(inner), error.strip_backtrace()),
            DataFusionError::ResourcesExhausted(_) => Self::new(CauseKind::Exhausted, error.strip_backtrace()),
            DataFusionError::ExecutionJoin(_) | DataFusionError::Internal(_) => {
                let text = error.strip_backtrace();
                panic_of(&text).unwrap_or_else(|| Self::new(CauseKind::Internal, text))
            }
            other => Self::new(CauseKind::Invalid, other.strip_backtrace()),
        }
    }

    /// Finds the root cause in a text: an encoded cause, an error in `Debug` form, or the text itself.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        wire::decode(text)
            .or_else(|| debug::cause(text))
            .or_else(|| panic_of(text))
            .unwrap_or_else(|| Self::new(CauseKind::Invalid, text.trim()))
    }

    fn of_arrow(error: &ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(inner) => Self::of_any(inner.as_ref()),
            ArrowError::IoError(_, inner) => Self::of_io(inner, &error.to_string()),
            other => Self::new(CauseKind::Invalid, other.to_string()),
        }
    }

    fn of_io(error: &std::io::Error, text: &str) -> Self {
        if let Some(coded) = wire::decode(text) {
            return coded;
        }
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => CauseKind::NotFound,
            std::io::ErrorKind::PermissionDenied => CauseKind::Invalid,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::OutOfMemory => CauseKind::Exhausted,
            _ => CauseKind::Unavailable,
        };
        Self::new(kind, text)
    }

    /// Errors inside DataFusion and Arrow errors as trait objects.
    fn of_any(error: &(dyn StdError + Send + Sync + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<DataFusionError>() {
            return Self::of(error);
        }
        if let Some(error) = error.downcast_ref::<Arc<DataFusionError>>() {
            return Self::of(error);
        }
        if let Some(error) = error.downcast_ref::<ArrowError>() {
            return Self::of_arrow(error);
        }
        if let Some(error) = error.downcast_ref::<BallistaError>() {
            return Self::of_ballista(error);
        }
        if let Some(error) = error.downcast_ref::<Error>() {
            return Self::new(error.kind(), error.to_string());
        }
        match error.downcast_ref::<Self>() {
            Some(cause) => cause.clone(),
            None => Self::of_text(&error.to_string()),
        }
    }

    /// The shuffle writer of Ballista wraps the errors of its input.
    fn of_ballista(error: &BallistaError) -> Self {
        match error {
            BallistaError::ArrowError(inner) => Self::of_arrow(inner),
            BallistaError::DataFusionError(inner) => Self::of(inner),
            BallistaError::IoError(inner) => Self::of_io(inner, &error.to_string()),
            other => Self::of_text(&other.to_string()),
        }
    }

    /// Makes the cause for a task that panicked with this message.
    #[must_use]
    pub fn panicked(message: &str) -> Self {
        Self {
            kind: CauseKind::Internal,
            message: format!("a task panicked: {message}"),
            hint: Some("this is a bug in Tusk; see the log of the executor".to_owned()),
        }
    }

    /// Adds a context to the message.
    fn within(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Encodes the cause as text. [`Self::of_text`] can decode it even if it has been quoted several times.
    #[must_use]
    pub fn to_wire(&self) -> String {
        wire::encode(self)
    }
}

impl From<Cause> for DataFusionError {
    /// An error of a task that is already encoded.
    fn from(cause: Cause) -> Self {
        Self::Execution(cause.to_wire())
    }
}

fn kind_of_store(error: &datafusion::object_store::Error) -> CauseKind {
    use datafusion::object_store::Error as StoreError;
    match error {
        StoreError::NotFound { .. } => CauseKind::NotFound,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => CauseKind::Invalid,
        _ => CauseKind::Unavailable,
    }
}

/// Finds the panic message in the message of tokio for a panicked task.
fn panic_of(text: &str) -> Option<Cause> {
    let quoted = &text[text.find(PANICKED)? + PANICKED.len()..];
    Some(Cause::panicked(&debug::unquoted(quoted).unwrap_or_else(|| quoted.to_owned())))
}
