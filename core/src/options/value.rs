//! The unparsed value of `OPTIONS (key = value)`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A literal: quoted text (or a bare word), a number, true or false, or a set of them to search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OptionValue {
    /// Text.
    Text(String),
    /// A number, as written.
    Number(String),
    /// true or false.
    Bool(bool),
    /// `range(low, high)`: any number between the bounds. The bounds are numbers as written.
    Range(String, String),
    /// `candidates(a, b, ...)`: one of the values.
    Candidates(Vec<OptionValue>),
}

impl fmt::Display for OptionValue {
    /// Formats the value as SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Number(number) => f.write_str(number),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Range(low, high) => write!(f, "range({low}, {high})"),
            Self::Candidates(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "candidates({})", values.join(", "))
            }
        }
    }
}

impl From<&str> for OptionValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for OptionValue {
    fn from(number: f64) -> Self {
        Self::Number(number.to_string())
    }
}

impl From<u64> for OptionValue {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}
