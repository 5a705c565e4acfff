//! Trains an epoch, or a slice of one; answers with the weights and moments after it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Selection};
use crate::manifest::FileRef;

/// The input of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// The rows to learn from.
    pub selection: Selection,
    /// The epoch, from 1.
    pub epoch: u32,
    /// Which of the epoch's batches.
    pub slice: EpochSlice,
    /// The weights and moments to start from; `None` means those that the seed gives.
    pub weights: Option<FileRef>,
}

impl From<Train> for Job {
    fn from(job: Train) -> Self {
        Self::Train(job)
    }
}

impl JobInput for Train {
    type Report = TrainReport;
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={:?}, epoch={}", self.selection.rows, self.epoch)
    }
}

/// A slice of an epoch's batches: workers that are averaged several times an epoch train it slice by slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochSlice {
    /// Which, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

impl EpochSlice {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The range of this slice among so many steps.
    #[must_use]
    pub fn steps(self, total: usize) -> Range<usize> {
        let (index, count) = (self.index as usize, (self.count as usize).max(1));
        (total.saturating_mul(index) / count)..(total.saturating_mul(index + 1) / count).min(total)
    }
}

/// What a worker learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// As of any task; its rows are those that were trained on.
    pub task: TaskReport,
    /// Sum over rows of the training loss.
    pub loss_sum: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

impl Report for TrainReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }
}
