//! The common part of the reports of all jobs.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manifest::Timing;

/// Maximum count in a report, so that sums over all workers cannot overflow.
pub(super) const COUNT_MAX: u64 = 1 << 40;

/// The part of a report that all jobs share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Rows used. They are the weight of the worker in means.
    pub rows: u64,
    /// Images decoded for this task. 0 if the shard was already decoded.
    pub decoded: u64,
    /// Times of parts of the task.
    pub timing: Timing,
}

/// The report of a worker. It is the first row of the task output, as JSON.
pub trait Report: Serialize + DeserializeOwned {
    /// The common part.
    fn task(&self) -> &TaskReport;

    /// The common part, mutable.
    fn task_mut(&mut self) -> &mut TaskReport;

    /// Checks that the counts can be summed over all workers.
    ///
    /// # Errors
    /// Returns a message with the count that is too large.
    fn check(&self) -> Result<(), String> {
        self.task().check_counts([])
    }
}

impl TaskReport {
    /// Makes a report with this number of rows.
    #[must_use]
    pub fn of_rows(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Checks that these counts and the common counts can be summed over all workers.
    pub(super) fn check_counts(&self, counts: impl IntoIterator<Item = u64>) -> Result<(), String> {
        match [self.rows, self.decoded].into_iter().chain(counts).max().filter(|count| *count > COUNT_MAX) {
            Some(count) => Err(format!("the count {count} is too large")),
            None => Ok(()),
        }
    }
}
