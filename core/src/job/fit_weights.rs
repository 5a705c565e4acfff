//! The fit-weights job: fits the weights of another model or file to the net. Its task output is the initial state of
//! the net.
//!
//! Only the first worker returns tensors. Its report counts one row and the others count none, so the weighted mean
//! over the workers is its state.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput};
use crate::manifest::FileRef;
use crate::transfer::Transfer;

/// The input of a fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitWeights {
    /// The weights to fit.
    pub weights: FileRef,
}

impl From<FitWeights> for Job {
    fn from(job: FitWeights) -> Self {
        Self::FitWeights(job)
    }
}

impl JobInput for FitWeights {
    type Report = FitWeightsReport;
}

impl fmt::Display for FitWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weights={}", self.weights.path)
    }
}

/// The report of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitWeightsReport {
    /// The common part. Its rows are 1 for the first worker and 0 for the others.
    pub task: TaskReport,
    /// Which tensors fit. `None` for all workers except the first.
    pub transfer: Option<Transfer>,
}

impl Report for FitWeightsReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }
}
