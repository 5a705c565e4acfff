//! The train job: trains an epoch slice. Its task output is the weights and moments after it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Selection};
use crate::manifest::FileRef;

/// The input of the train job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// The training rows.
    pub selection: Selection,
    /// The epoch, from 1.
    pub epoch: u32,
    /// The epoch slice.
    pub slice: EpochSlice,
    /// The weights and moments to start from. `None` means random weights from the seed.
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

/// An epoch slice: a part of the batches of an epoch. Workers are averaged after each slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochSlice {
    /// The index of the slice, from 0.
    pub index: u32,
    /// The number of slices per epoch.
    pub count: u32,
}

impl EpochSlice {
    /// The whole epoch.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Returns the steps of this slice, if the epoch has `steps` steps.
    #[must_use]
    pub fn steps(self, total: usize) -> Range<usize> {
        let (index, count) = (self.index as usize, (self.count as usize).max(1));
        (total.saturating_mul(index) / count)..(total.saturating_mul(index + 1) / count).min(total)
    }
}

/// The report of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The common part. Its rows are the rows trained on.
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
