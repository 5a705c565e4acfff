//! Fits the weights of another model or file to the net; answers with the state that the net starts from.
//!
//! The first worker answers with the tensors, for all. Its report counts one row, so that the mean over the workers is
//! its state.

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

/// What became of the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitWeightsReport {
    /// As of any task; its rows are 1 for the first worker and 0 for the others.
    pub task: TaskReport,
    /// Which tensors fitted; `None` of all workers but the first.
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
