//! Trains all epochs, exchanging weights with the parameter server; answers with a report alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::{Report, TaskReport};
use super::{Job, JobInput, Selection};
use crate::manifest::FileRef;
use crate::protocol::parameters::SessionKey;

/// The input of an exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The rows to learn from.
    pub selection: Selection,
    /// The first epoch that a worker has not ended, from 1. The service says where each worker goes on.
    pub first_epoch: u32,
    /// The weights to start from; `None` means those that the seed gives.
    pub weights: Option<FileRef>,
    /// How the workers are known to the parameter server.
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

/// What a worker did between its first pull and its last push.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// As of any task; its rows are those of all epochs.
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
