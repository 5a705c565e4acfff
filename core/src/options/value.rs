//! A value of `OPTIONS (key = value)` as it was written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A literal: text in quotes (or a bare word), a number, true and false; or several of them, to be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OptionValue {
    /// Text.
    Text(String),
    /// A number, in its own digits.
    Number(String),
    /// true or false.
    Bool(bool),
    /// `range(low, high)`, whose bounds are numbers in their own digits: any number in it may be tried.
    Range(String, String),
    /// `candidates(a, b, ...)`: each of them may be tried.
    Candidates(Vec<OptionValue>),
}

impl fmt::Display for OptionValue {
    /// As SQL.
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
