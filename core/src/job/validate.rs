//! Scores rows with a checkpoint; answers with what the rows are and what the net says of them.

use std::fmt;

use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Rows};
use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::manifest::FileRef;
use crate::physical::{Answer, answer_rows};

/// The input of a validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validate {
    /// The rows to score.
    pub rows: Rows,
    /// The epoch whose weights these are, from 1.
    pub epoch: u32,
    /// The weights.
    pub weights: FileRef,
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
        write!(f, "rows={:?}, epoch={}", self.rows, self.epoch)
    }
}

/// How many rows a worker scored, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidateReport {
    /// As of any task; its rows are those that were scored.
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

/// The scores of rows, in one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Per row the index of its class.
    pub truth: Vec<u32>,
    /// Per row a probability of each class, row-major.
    pub probabilities: Vec<f32>,
    /// Per row a hash of what a split keeps together.
    pub groups: Vec<u64>,
}

impl Scores {
    /// The scores as rows of a worker's answer.
    pub fn rows(&self, worker: WorkerId) -> impl Iterator<Item = Result<RecordBatch>> {
        let columns: [(&str, &[u8]); 3] = [
            (TRUTH, bytemuck::cast_slice(&self.truth)),
            (PROBABILITIES, bytemuck::cast_slice(&self.probabilities)),
            (GROUPS, bytemuck::cast_slice(&self.groups)),
        ];
        columns.into_iter().flat_map(move |(name, bytes)| answer_rows(worker, name, bytes))
    }

    /// Takes a row of an answer.
    ///
    /// # Errors
    /// [`Error::Wire`] when it carries something else.
    pub fn fold(&mut self, answer: &Answer<'_>) -> Result<()> {
        let words = answer.data.as_chunks::<4>().0;
        match answer.name {
            TRUTH => self.truth.extend(words.iter().map(|word| u32::from_le_bytes(*word))),
            PROBABILITIES => self.probabilities.extend(words.iter().map(|word| f32::from_le_bytes(*word))),
            GROUPS => self.groups.extend(answer.data.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))),
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
    fn scores_come_back_from_the_rows_of_an_answer_and_other_arrays_are_refused() {
        let scores =
            Scores { truth: vec![1, 0], probabilities: vec![0.25, 0.75, 1e-40, 1.0], groups: vec![9, u64::MAX] };
        let mut found = Scores::default();
        for batch in scores.rows(WorkerId(2)) {
            for answer in Answer::rows(&batch.unwrap()).unwrap() {
                found.fold(&answer).unwrap();
            }
        }
        assert_eq!(found, scores);
        let other = Answer { worker: WorkerId(0), name: "keys", piece: 0, data: &[] };
        let message = found.fold(&other).unwrap_err().to_string();
        assert!(message.contains("it has the unexpected array 'keys'"), "{message}");
    }
}
