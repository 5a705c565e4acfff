//! The rows that a model learned from, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the profile job found out about the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataProfile {
    /// Readable training rows per class.
    pub train_rows: BTreeMap<String, u64>,
    /// Readable held-out rows per class.
    pub val_rows: BTreeMap<String, u64>,
    /// Rows that could not be read.
    pub skipped: u64,
    /// Readable rows per worker.
    pub rows_per_worker: Vec<u64>,
    /// Readable training rows per worker.
    #[serde(default)]
    pub train_rows_per_worker: Vec<u64>,
    /// A digest of the readable rows' content and labels, the same in whatever order they stand.
    pub fingerprint: String,
    /// What of the training rows is among the validation rows; `None` where nothing is held out.
    #[serde(default)]
    pub leak: Option<Leak>,
}

/// Training rows that are among the validation rows, too, each counted by the first of these that it is found by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// Rows with the very bytes of a validation row.
    pub content: u64,
    /// Rows that look like one: equal perceptual hashes.
    pub look: u64,
    /// Rows of a group (a patient) that has validation rows.
    pub group: u64,
    /// How many of them were left out of training.
    pub dropped: u64,
}

impl Leak {
    /// All of them.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.content + self.look + self.group
    }

    /// Those of two splits.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            content: self.content + other.content,
            look: self.look + other.look,
            group: self.group + other.group,
            dropped: self.dropped + other.dropped,
        }
    }
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { content, look, group, dropped } = self;
        write!(f, "{} training rows are among the validation rows, too: ", self.rows())?;
        write!(f, "{content} by content, {look} by look, {group} by group")?;
        if *dropped > 0 { write!(f, "; {dropped} are left out") } else { Ok(()) }
    }
}
