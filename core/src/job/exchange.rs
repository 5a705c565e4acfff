//! The exchange job: trains all epochs and exchanges weights with the parameter server. Its task output is only a
//! report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Selection};
use crate::manifest::FileRef;
use crate::protocol::parameters::SessionKey;

/// The input of an exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The training rows.
    pub selection: Selection,
    /// The first epoch that some worker has not finished, from 1. The parameter server tells each worker where to
    /// continue.
    pub first_epoch: u32,
    /// The initial weights. `None` means random weights from the seed.
    pub weights: Option<FileRef>,
    /// The session with the parameter server.
    pub session: SessionKey,
}

impl From<Exchange> for Job {
    fn from(job: Exchange) -> Self {
        Self::Exchange(job)
    }
}

impl JobInput for Exchange {
    type Report = ExchangeReport;
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={:?}, epoch={}", self.selection.rows, self.first_epoch)
    }
}

/// The report of a worker on all its epochs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// The common part. Its rows are the sum over all epochs.
    pub task: TaskReport,
}

impl Report for ExchangeReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }
}
