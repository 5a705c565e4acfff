//! Statistics of the training rows of a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Shortcut;

/// The result of the profile job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataProfile {
    /// Readable training rows per class.
    pub train_rows: BTreeMap<String, u64>,
    /// Readable held-out rows per class.
    pub val_rows: BTreeMap<String, u64>,
    /// Unreadable rows.
    pub skipped: u64,
    /// Readable rows per worker.
    pub rows_per_worker: Vec<u64>,
    /// Readable training rows per worker.
    #[serde(default)]
    pub train_rows_per_worker: Vec<u64>,
    /// A checksum of the content and labels of the readable rows, independent of their order.
    pub fingerprint: String,
    /// The leaks. `None` if nothing is held out.
    #[serde(default)]
    pub leak: Option<Leak>,
    /// The shortcuts of the training table, the best first. `None` if they were not measured.
    #[serde(default)]
    pub shortcuts: Option<Vec<Shortcut>>,
}

/// Counts of leaks. Each leaked row is counted once, in the first field that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// Rows with the content hash of a validation row.
    pub content: u64,
    /// Rows with the perceptual hash of a validation row.
    pub look: u64,
    /// Rows of a group that also has validation rows.
    pub group: u64,
    /// Number of leaked rows that were left out of training.
    pub dropped: u64,
}

impl Leak {
    /// Returns the number of leaked rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.content + self.look + self.group
    }

    /// Adds the counts of two splits.
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
