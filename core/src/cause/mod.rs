//! Why a query or a task failed: the first cause, out of whatever it was wrapped in.
//!
//! An error of a task goes through many hands before a user sees it: DataFusion's streams share it, Ballista writes it as
//! Rust's Debug text into its own messages and quotes those in others, Flight sends it on. So executors turn it into a
//! [`Cause`] while it is still an error with a type (`tusk_executor`'s `stage`) and code it into a text that survives any
//! quoting (`wire`). What was formatted where none of our code comes in between, as when a job is planned, is read back
//! from Debug's form (`debug`).

mod debug;
#[cfg(test)]
mod tests;
mod wire;

use std::error::Error as StdError;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::error::Error;

/// What a task that panicked says of itself: tokio's words.
const PANICKED: &str = "panicked with message ";

/// What kind of failure it is: what whoever asked can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CauseKind {
    /// The statement or its data: it would fail again.
    Invalid,
    /// Something that is named is not there.
    NotFound,
    /// Something of this name is there already.
    Exists,
    /// Memory or disk.
    Exhausted,
    /// A file, a store or a connection, for now.
    Unavailable,
    /// The program.
    Internal,
}

/// Why something failed, in the words that a user is to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct Cause {
    /// What kind of failure it is.
    pub kind: CauseKind,
    /// What failed, without the names of what it was wrapped in.
    pub message: String,
    /// What to do, where the message does not say it.
    pub hint: Option<String>,
}

impl Cause {
    fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The first cause of an error.
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

    /// The first cause in a text: one that executors have coded, one in Debug's form, or the text itself.
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

    /// Errors that DataFusion and Arrow carry without knowing their type.
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

    /// Ballista's shuffle writer carries the errors of its input in its own.
    fn of_ballista(error: &BallistaError) -> Self {
        match error {
            BallistaError::ArrowError(inner) => Self::of_arrow(inner),
            BallistaError::DataFusionError(inner) => Self::of(inner),
            BallistaError::IoError(inner) => Self::of_io(inner, &error.to_string()),
            other => Self::of_text(&other.to_string()),
        }
    }

    /// A task that panicked with this message.
    #[must_use]
    pub fn panicked(message: &str) -> Self {
        Self {
            kind: CauseKind::Internal,
            message: format!("a task panicked: {message}"),
            hint: Some("this is a bug in Tusk; see the log of the executor".to_owned()),
        }
    }

    /// The cause of something larger.
    fn within(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The text in which the cause travels: whatever quotes it, and however often, it can be read back by
    /// [`Self::of_text`].
    #[must_use]
    pub fn to_wire(&self) -> String {
        wire::encode(self)
    }
}

impl From<Cause> for DataFusionError {
    /// An error of a task that was coded already.
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

/// A panic, in a text that says that a task of tokio's panicked.
fn panic_of(text: &str) -> Option<Cause> {
    let quoted = &text[text.find(PANICKED)? + PANICKED.len()..];
    Some(Cause::panicked(&debug::unquoted(quoted).unwrap_or_else(|| quoted.to_owned())))
}
