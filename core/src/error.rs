//! The errors of this crate.

use datafusion::error::DataFusionError;

use crate::cause::kind::CauseKind;

/// An error. Its message says what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement cannot be parsed.
    #[error("{message} at line {line}, column {column}")]
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
    },
    /// The option does not exist.
    #[error("unknown option '{option}'{} The options are: {known}", stop_or_suggest(suggestion.as_deref()))]
    UnknownOption {
        /// The key as written.
        option: String,
        /// The nearest existing key.
        suggestion: Option<String>,
        /// All keys.
        known: String,
    },
    /// The option does not accept the value.
    #[error("option '{option}' is {value}; it takes {expected}{}", did_you_mean(suggestion.as_deref()))]
    InvalidOption {
        /// The key.
        option: String,
        /// The value as written.
        value: String,
        /// The accepted values.
        expected: String,
        /// The nearest accepted value.
        suggestion: Option<String>,
    },
    /// Two options contradict each other.
    #[error("{message}")]
    ConflictingOptions {
        /// The options, and what to do.
        message: String,
    },
    /// The model name is not valid.
    #[error("'{name}' is not a valid model name: {reason}")]
    InvalidModelName {
        /// The name as written.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The model does not exist.
    #[error("there is no model '{name}' in {store}{} SHOW MODELS lists them", stop_or_suggest(suggestion.as_deref()))]
    ModelNotFound {
        /// The name.
        name: String,
        /// The store's URL.
        store: String,
        /// The nearest existing name.
        suggestion: Option<String>,
    },
    /// The model already exists.
    #[error(
        "model '{name}' exists. Use CREATE OR REPLACE MODEL, CREATE MODEL IF NOT EXISTS, another name, or DROP MODEL {name}"
    )]
    ModelExists {
        /// The name.
        name: String,
    },
    /// A file of the model store is damaged.
    #[error("{path} is damaged: {reason}. Restore it from a copy, or train the model again")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An operation of the model store failed.
    #[error("the model store {store} failed to {action} {path}{}: {source}. {advice}", after(*attempts))]
    Store {
        /// The store's URL.
        store: String,
        /// The operation.
        action: &'static str,
        /// The object.
        path: String,
        /// The number of attempts.
        attempts: u32,
        /// What to do.
        advice: &'static str,
        /// The error of the store.
        source: Box<object_store::Error>,
    },
    /// The URL of the model store is not valid.
    #[error("'{url}' is not a model store: {reason}")]
    InvalidStore {
        /// The URL as written.
        url: String,
        /// Why.
        reason: String,
    },
    /// A message was not written by this version of Tusk.
    #[error("a {what} cannot be read: {reason}. Run the same version of Tusk on every node")]
    Wire {
        /// The kind of message.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The table or query does not fit the statement.
    #[error("{message}")]
    Data {
        /// What is wrong with which column or rows, and what to do.
        message: String,
    },
}

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error for an option that does not exist, with the nearest of the names that do.
    pub fn unknown_option(option: &str, names: &[&str]) -> Self {
        let suggestion = nearest(option, names.iter().copied());
        Self::UnknownOption { option: option.to_owned(), suggestion, known: names.join(", ") }
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> CauseKind {
        match self {
            Self::ModelNotFound { .. } => CauseKind::NotFound,
            Self::ModelExists { .. } => CauseKind::Exists,
            Self::Store { .. } => CauseKind::Unavailable,
            Self::Syntax { .. }
            | Self::UnknownOption { .. }
            | Self::InvalidOption { .. }
            | Self::ConflictingOptions { .. }
            | Self::InvalidModelName { .. }
            | Self::Damaged { .. }
            | Self::InvalidStore { .. }
            | Self::Wire { .. }
            | Self::Data { .. } => CauseKind::Invalid,
        }
    }
}

impl From<Error> for DataFusionError {
    /// Wraps the error, so that [`crate::cause::Cause::of`] can find it.
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// Formats the number of attempts for an error message.
fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

/// Formats the suggestion for an error message.
fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |s| format!("; did you mean '{s}'?"))
}

/// Formats the suggestion, or a full stop before the next sentence.
fn stop_or_suggest(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(|| ".".to_owned(), |s| did_you_mean(Some(s)))
}

/// Returns the candidate nearest to `word`, if it is similar enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len() / 4)
        .min()
        .map(|(_, c)| c.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_gets_a_suggestion_and_an_unrelated_word_gets_none() {
        assert_eq!(nearest("epoch", ["epochs", "seed"]), Some("epochs".into()));
        assert_eq!(nearest("lerning_rate", ["learning_rate", "loss"]), Some("learning_rate".into()));
        assert_eq!(nearest("banana", ["epochs", "seed"]), None);
    }
}
