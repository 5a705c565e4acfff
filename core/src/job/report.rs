//! What the reports of all jobs have in common.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manifest::Timing;

/// The largest count in a report: sums over all workers cannot overflow.
const COUNT_MAX: u64 = 1 << 40;

/// What a worker reports on its task, whatever the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Rows used. A mean over workers is weighted by them.
    pub rows: u64,
    /// Images decoded for this task; 0 when the shard was there already.
    pub decoded: u64,
    /// Where the time went.
    pub timing: Timing,
}

/// A worker's report on its task: the first row of its answer, as JSON.
pub trait Report: Serialize + DeserializeOwned {
    /// What all reports have.
    fn task(&self) -> &TaskReport;

    /// The same, to be completed.
    fn task_mut(&mut self) -> &mut TaskReport;

    /// Whether its numbers can be added up with those of the other workers.
    ///
    /// # Errors
    /// Which number cannot be.
    fn check(&self) -> Result<(), String> {
        self.task().check_counts([])
    }
}

impl TaskReport {
    /// The report of a task that used so many rows.
    #[must_use]
    pub fn of_rows(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Whether its counts and these of the job can be added up over workers.
    pub(super) fn check_counts(&self, counts: impl IntoIterator<Item = u64>) -> Result<(), String> {
        match [self.rows, self.decoded].into_iter().chain(counts).max().filter(|count| *count > COUNT_MAX) {
            Some(count) => Err(format!("the count {count} is too large")),
            None => Ok(()),
        }
    }
}
