//! The state of a cluster.

use serde::{Deserialize, Serialize};

use super::ExecutorReport;
use crate::ids::{ModelName, RunId};

/// The state of a cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The executors that have reported recently.
    pub executors: Vec<ExecutorReport>,
    /// The active runs.
    pub runs: Vec<RunSummary>,
    /// Active jobs of runs and queries.
    pub jobs_running: usize,
    /// Jobs that are waiting to be planned.
    pub jobs_queued: usize,
}

/// A summary of an active run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// The model.
    pub model: ModelName,
    /// The run.
    pub run: RunId,
    /// The last finished epoch. 0 before the first.
    pub epoch: u32,
    /// Requested epochs. 0 while the rows are read.
    pub epochs: u32,
    /// ROC AUC of the held-out rows after the last epoch.
    pub val_roc_auc: Option<f64>,
    /// When it was started or resumed, in milliseconds since 1970.
    pub started_unix_ms: u64,
}
