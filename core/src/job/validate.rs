//! The validate job: scores rows with a checkpoint. Its task output has the classes and the probabilities of the rows.

use std::fmt;

use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Rows};
use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::manifest::FileRef;
use crate::physical::{TaskOutput, output_rows};

/// The input of a validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validate {
    /// The rows to score.
    pub rows: Rows,
    /// The epoch of the weights, from 1.
    pub epoch: u32,
    /// The weights.
    pub weights: FileRef,
    /// Number of copies of each row that are scored instead of the row, changed at random as in training. 0 scores the row
    /// as it is.
    pub copies: u32,
}

impl From<Validate> for Job {
    fn from(job: Validate) -> Self {
        Self::Validate(job)
    }
}

impl JobInput for Validate {
    type Report = ValidateReport;
}

impl fmt::Display for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={:?}, epoch={}, copies={}", self.rows, self.epoch, self.copies)
    }
}

/// The report of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidateReport {
    /// The common part. Its rows are the scored rows.
    pub task: TaskReport,
}

impl Report for ValidateReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }
}

const TRUTH: &str = "truth";
const PROBABILITIES: &str = "probabilities";
const GROUPS: &str = "groups";
const CONTENTS: &str = "contents";

/// The scores of rows. All lists are in the same order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// The class index of each row.
    pub truth: Vec<u32>,
    /// The probabilities, rows x classes, row-major.
    pub probabilities: Vec<f32>,
    /// The split key of each row.
    pub groups: Vec<u64>,
    /// The content hash of each row. Empty for copies of rows.
    pub contents: Vec<u64>,
}

impl Scores {
    /// Converts the scores to rows of a task output.
    pub fn rows(&self, worker: WorkerId) -> impl Iterator<Item = Result<RecordBatch>> {
        let columns: [(&str, &[u8]); 4] = [
            (TRUTH, bytemuck::cast_slice(&self.truth)),
            (PROBABILITIES, bytemuck::cast_slice(&self.probabilities)),
            (GROUPS, bytemuck::cast_slice(&self.groups)),
            (CONTENTS, bytemuck::cast_slice(&self.contents)),
        ];
        columns.into_iter().flat_map(move |(name, bytes)| output_rows(worker, name, bytes))
    }

    /// Adds the scores of other rows.
    pub fn extend(&mut self, other: Self) {
        self.truth.extend(other.truth);
        self.probabilities.extend(other.probabilities);
        self.groups.extend(other.groups);
        self.contents.extend(other.contents);
    }

    /// Adds a row of a task output.
    ///
    /// # Errors
    /// Returns [`Error::Wire`] if the row has an unexpected array.
    pub fn fold(&mut self, answer: &TaskOutput<'_>) -> Result<()> {
        let words = answer.data.as_chunks::<4>().0;
        let hashes = || answer.data.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        match answer.name {
            TRUTH => self.truth.extend(words.iter().map(|word| u32::from_le_bytes(*word))),
            PROBABILITIES => self.probabilities.extend(words.iter().map(|word| f32::from_le_bytes(*word))),
            GROUPS => self.groups.extend(hashes()),
            CONTENTS => self.contents.extend(hashes()),
            other => {
                return Err(Error::Wire {
                    what: "validation output",
                    reason: format!("it has the unexpected array '{other}'"),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_survive_the_task_output_and_other_arrays_are_refused() {
        let scores = Scores {
            truth: vec![1, 0],
            probabilities: vec![0.25, 0.75, 1e-40, 1.0],
            groups: vec![9, u64::MAX],
            contents: vec![u64::MAX, 3],
        };
        let mut found = Scores::default();
        for batch in scores.rows(WorkerId(2)) {
            for answer in TaskOutput::rows(&batch.unwrap()).unwrap() {
                found.fold(&answer).unwrap();
            }
        }
        assert_eq!(found, scores);
        let other = TaskOutput { worker: WorkerId(0), name: "keys", piece: 0, data: &[] };
        let message = found.fold(&other).unwrap_err().to_string();
        assert!(message.contains("it has the unexpected array 'keys'"), "{message}");
    }
}
