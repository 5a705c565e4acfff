//! What a cluster is doing.

use serde::{Deserialize, Serialize};

use super::ExecutorReport;
use crate::ids::{ModelName, RunId};

/// What a cluster is doing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The executors that have reported lately.
    pub executors: Vec<ExecutorReport>,
    /// The runs under way.
    pub runs: Vec<RunSummary>,
    /// Jobs under way, of runs and queries alike.
    pub jobs_running: usize,
    /// Jobs that wait to be planned.
    pub jobs_queued: usize,
}

/// A run under way, in a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// The model.
    pub model: ModelName,
    /// The run.
    pub run: RunId,
    /// The last epoch that is done; 0 before the first.
    pub epoch: u32,
    /// Epochs asked for; 0 while the rows are read.
    pub epochs: u32,
    /// ROC AUC of the held-out rows after the last epoch.
    pub val_roc_auc: Option<f64>,
    /// Milliseconds since 1970 when it was started, or resumed.
    pub started_unix_ms: u64,
}
