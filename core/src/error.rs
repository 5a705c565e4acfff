//! The errors of the contract. Each says what, where, and what to do.

use datafusion::error::DataFusionError;

use crate::cause::CauseKind;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A statement that does not parse.
    #[error("{message} at line {line}, column {column}")]
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
    },
    /// A key of `OPTIONS (...)` that does not exist.
    #[error("unknown option '{option}'{} The options are: {known}", stop_or_suggest(suggestion.as_deref()))]
    UnknownOption {
        /// The key as written.
        option: String,
        /// The nearest key that exists.
        suggestion: Option<String>,
        /// All keys.
        known: String,
    },
    /// A value that its option does not take.
    #[error("option '{option}' is {value}; it takes {expected}{}", did_you_mean(suggestion.as_deref()))]
    InvalidOption {
        /// The key.
        option: String,
        /// The value as written.
        value: String,
        /// What is accepted.
        expected: String,
        /// The nearest accepted value.
        suggestion: Option<String>,
    },
    /// Two options that exclude each other.
    #[error("{message}")]
    ConflictingOptions {
        /// Which, and what to do.
        message: String,
    },
    /// A name that cannot be a model's.
    #[error("'{name}' is not a valid model name: {reason}")]
    InvalidModelName {
        /// The name as written.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A model that is not in the store.
    #[error("there is no model '{name}' in {store}{} SHOW MODELS lists them", stop_or_suggest(suggestion.as_deref()))]
    ModelNotFound {
        /// The name.
        name: String,
        /// The store's URL.
        store: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// A model that is there already.
    #[error(
        "model '{name}' exists. Use CREATE OR REPLACE MODEL, CREATE MODEL IF NOT EXISTS, another name, or DROP MODEL {name}"
    )]
    ModelExists {
        /// The name.
        name: String,
    },
    /// A file of the model store that is not what was written.
    #[error("{path} is damaged: {reason}. Restore it from a copy, or train the model again")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store refused a read or a write.
    #[error("the model store {store} failed to {action} {path}{}: {source}. {advice}", after(*attempts))]
    Store {
        /// The store's URL.
        store: String,
        /// What was tried.
        action: &'static str,
        /// The object.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// What to do.
        advice: &'static str,
        /// The store's own words.
        source: Box<object_store::Error>,
    },
    /// A store's URL that cannot be used.
    #[error("'{url}' is not a model store: {reason}")]
    InvalidStore {
        /// The URL as written.
        url: String,
        /// Why.
        reason: String,
    },
    /// A plan or a row that did not come from a Tusk of this version.
    #[error("a {what} cannot be read: {reason}. Run the same version of Tusk on every node")]
    Wire {
        /// What kind of message.
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

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of failure it is.
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
    /// As it is: [`crate::cause::Cause::of`] finds it again.
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// The part of an error message that says how often something was tried.
fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

/// The part of an error message that names the nearest thing that exists.
fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |s| format!("; did you mean '{s}'?"))
}

/// The same at the end of a sentence that another follows.
fn stop_or_suggest(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(|| ".".to_owned(), |s| did_you_mean(Some(s)))
}

/// The candidate nearest to `word`, if one is near enough to be a slip of the pen.
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
    fn a_slip_of_the_pen_finds_the_nearest_word_and_a_stranger_finds_none() {
        assert_eq!(nearest("epoch", ["epochs", "seed"]), Some("epochs".into()));
        assert_eq!(nearest("lerning_rate", ["learning_rate", "loss"]), Some("learning_rate".into()));
        assert_eq!(nearest("banana", ["epochs", "seed"]), None);
    }
}
