//! The profile job: decodes the rows into shards and counts classes and pixels. Its task output has the hashes that
//! find leaks.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Selection};
use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::physical::{TaskOutput, output_rows};

/// The input of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The training rows. Held-out rows are counted separately.
    pub selection: Selection,
}

impl From<Profile> for Job {
    fn from(job: Profile) -> Self {
        Self::Profile(job)
    }
}

impl JobInput for Profile {
    type Report = ProfileReport;
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={:?}", self.selection.rows)
    }
}

/// An unreadable image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableImage {
    /// Its path, or its position in the table.
    pub name: String,
    /// The cause.
    pub reason: String,
}

/// The report of a worker on its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileReport {
    /// The common part. Its rows are the readable rows.
    pub task: TaskReport,
    /// Rows of the whole table that the worker read. If it is not the same for all workers, some have read only a part.
    pub rows_seen: u64,
    /// Training rows per class.
    pub train_rows: BTreeMap<String, u64>,
    /// Held-out rows per class.
    pub val_rows: BTreeMap<String, u64>,
    /// Rows without a label.
    pub null_labels: u64,
    /// Rows with a missing or unreadable image.
    pub skipped: u64,
    /// The first of the unreadable images.
    pub unreadable: Vec<UnreadableImage>,
    /// Sum of the pixel values of the training rows.
    pub pixel_sum: u64,
    /// Sum of the squares of the pixel values.
    pub pixel_square_sum: u64,
    /// Number of the pixel values.
    pub pixel_count: u64,
    /// Sum, modulo 2^64, of the content hashes of the rows: independent of their order.
    pub fingerprint: u64,
    /// Whether the processor supports bf16.
    pub has_bf16: bool,
}

impl Report for ProfileReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }

    fn check(&self) -> Result<(), String> {
        let counts = [self.rows_seen, self.null_labels, self.skipped];
        let classes = self.train_rows.values().chain(self.val_rows.values()).copied();
        self.task.check_counts(counts.into_iter().chain(classes))
    }
}

const CONTENTS: &str = "contents";
const LOOKS: &str = "looks";
const KEYS: &str = "keys";

/// The hashes of the readable rows of a worker. All lists have one hash per row, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowHashes {
    /// Content hashes.
    pub contents: Vec<u64>,
    /// Perceptual hashes.
    pub looks: Vec<u64>,
    /// Split keys.
    pub keys: Vec<u64>,
}

impl RowHashes {
    /// Converts the hashes to rows of a task output.
    pub fn rows(&self, worker: WorkerId) -> impl Iterator<Item = Result<RecordBatch>> {
        let columns = [(CONTENTS, &self.contents), (LOOKS, &self.looks), (KEYS, &self.keys)];
        columns.into_iter().flat_map(move |(name, hashes)| output_rows(worker, name, bytemuck::cast_slice(hashes)))
    }

    /// Adds a row of a task output. At most `hashes_max` hashes of each kind are kept.
    ///
    /// # Errors
    /// Returns [`Error::Wire`] if the row has an unexpected array.
    pub fn fold(&mut self, answer: &TaskOutput<'_>, hashes_max: usize) -> Result<()> {
        let hashes = match answer.name {
            CONTENTS => &mut self.contents,
            LOOKS => &mut self.looks,
            KEYS => &mut self.keys,
            other => {
                return Err(Error::Wire {
                    what: "profile output",
                    reason: format!("it has the unexpected array '{other}'"),
                });
            }
        };
        if hashes.len() < hashes_max {
            hashes.extend(answer.data.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_the_task_output_and_other_arrays_are_refused() {
        let hashes = RowHashes { contents: vec![1, u64::MAX], looks: vec![2, 3], keys: vec![4, 5] };
        let (mut found, mut few) = (RowHashes::default(), RowHashes::default());
        for worker in [0, 1] {
            for batch in hashes.rows(WorkerId(worker)) {
                for answer in TaskOutput::rows(&batch.unwrap()).unwrap() {
                    found.fold(&answer, usize::MAX).unwrap();
                    few.fold(&answer, 2).unwrap();
                }
            }
        }
        assert_eq!(found.contents, [1, u64::MAX, 1, u64::MAX]);
        assert_eq!((found.looks, found.keys), (vec![2, 3, 2, 3], vec![4, 5, 4, 5]));
        assert_eq!(few, hashes);
        let other = TaskOutput { worker: WorkerId(0), name: "truth", piece: 0, data: &[] };
        let message = few.fold(&other, 2).unwrap_err().to_string();
        assert!(message.contains("it has the unexpected array 'truth'"), "{message}");
    }

    #[test]
    fn counts_that_could_overflow_a_sum_are_refused() {
        let fits = ProfileReport { fingerprint: u64::MAX, pixel_sum: u64::MAX, ..ProfileReport::default() };
        assert_eq!(fits.check(), Ok(()));
        let rows = |count| [("A".to_owned(), count)].into();
        for report in [
            ProfileReport { task: TaskReport::of_rows(u64::MAX), ..fits.clone() },
            ProfileReport { rows_seen: u64::MAX, ..fits.clone() },
            ProfileReport { val_rows: rows(u64::MAX), ..fits.clone() },
            ProfileReport { skipped: u64::MAX, ..fits },
        ] {
            assert_eq!(report.check(), Err(format!("the count {} is too large", u64::MAX)));
        }
    }
}
