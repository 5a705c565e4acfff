//! Identifier types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Maximum length of a model name, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 128;

/// The name of a model. It is also the name of a folder, so it only contains letters, digits, `_`, `-` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// Checks the name.
    ///
    /// # Errors
    /// [`Error::InvalidModelName`] if it is empty, too long, starts with a dot, or has a character that is not allowed.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > MODEL_NAME_BYTES_MAX {
            "it is longer than 128 bytes"
        } else if name.starts_with('.') {
            "it starts with a dot"
        } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            "it may only contain letters, digits, '_', '-' and '.'"
        } else {
            return Ok(Self(name));
        };
        Err(Error::InvalidModelName { name, reason })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModelName {
    /// Returns the name of a child run of this model, such as `pneumonia.fold-1`.
    ///
    /// # Errors
    /// [`Error::InvalidModelName`] if it is too long.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::new(format!("{self}.{name}"))
    }

    /// Checks that a new model does not have the name of a child run.
    ///
    /// # Errors
    /// [`Error::InvalidModelName`] if it is a name that [`Self::child`] can return.
    pub fn refuse_child(&self) -> Result<()> {
        let is_number = |end: &str| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
        let is_child = |end: &str| {
            end == "new" || ["fold-", "trial-"].into_iter().any(|word| end.strip_prefix(word).is_some_and(is_number))
        };
        match self.0.rsplit_once('.') {
            Some((_, end)) if is_child(end) => Err(Error::InvalidModelName {
                name: self.0.clone(),
                reason: "names that end in '.fold-1', '.trial-1' or '.new' are reserved for folds, trials and ensembles",
            }),
            _ => Ok(()),
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a run. Ids are ordered by start time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(String);

impl RunId {
    /// Makes the id of a run that starts at `unix_ms` (milliseconds since 1970).
    #[must_use]
    pub fn starting_at(unix_ms: u64) -> Self {
        Self(format!("run-{unix_ms:013}-{:04x}", std::process::id() & 0xffff))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of a child run.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self(format!("{}-{name}", self.0))
    }

    /// Returns whether this is that run or one of its child runs.
    #[must_use]
    pub fn belongs_to(&self, run: &Self) -> bool {
        self.0.strip_prefix(&run.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl From<String> for RunId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a worker of a run, from 0. It identifies the shard of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_leave_its_folder() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", "naïve", &"x".repeat(129)] {
            assert!(ModelName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(ModelName::new("pneumonia_v2.1-b").unwrap().as_str(), "pneumonia_v2.1-b");
    }

    #[test]
    fn a_new_model_cannot_have_the_name_of_a_child_run() {
        let is_refused = |name: &str| ModelName::new(name).unwrap().refuse_child().is_err();
        assert!(["m.new", "m.fold-1", "a.b.trial-16"].into_iter().all(is_refused));
        assert!(!["m", "m.v2", "new", "fold-1", "m.fold-", "m.fold-a", "m.trial-1.x"].into_iter().any(is_refused));
        assert!(ModelName::new("m").unwrap().child("fold-1").unwrap().refuse_child().is_err());
    }
}
