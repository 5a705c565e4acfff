//! What a run tells those who watch it.

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, RunId, WorkerId};
use crate::manifest::{DataProfile, EpochReport, Manifest};
use crate::transfer::Transfer;

/// How far a worker is within its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: WorkerId,
    /// The epoch, from 1; 0 while images are decoded.
    pub epoch: u32,
    /// Images done in the epoch.
    pub images: u64,
    /// How many of them earlier tasks did: an epoch may be trained in parts.
    #[serde(default)]
    pub images_before: u64,
    /// Images in all, where that is known.
    pub images_total: Option<u64>,
    /// Images per second since the task began.
    pub images_per_second: f64,
    /// Mean loss so far.
    pub loss: Option<f64>,
}

/// One step in the life of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// It has begun, or goes on from a checkpoint.
    Started {
        /// The run.
        run: RunId,
        /// The model.
        model: ModelName,
        /// Epochs asked for.
        epochs: u32,
        /// Epochs that a resumed run already has.
        resumed_from: u32,
    },
    /// The rows are known and decoded.
    Profiled {
        /// What was found.
        data: DataProfile,
        /// Wall time of the profile job.
        seconds: f64,
    },
    /// The weights to start from are fitted to the net.
    Transferred {
        /// Where they are from.
        from: String,
        /// What became of them.
        transfer: Transfer,
    },
    /// A worker is at work.
    Progress(Progress),
    /// An epoch is done and its checkpoint written.
    Epoch(EpochReport),
    /// The model is published.
    Finished(Box<Manifest>),
}

/// Called with everything that happens in runs.
pub type OnEvent = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// Takes the progress of tasks. Must not block.
pub trait ProgressSink: Debug + Send + Sync {
    /// One report.
    fn report(&self, progress: Progress);
}

/// Drops every report.
#[derive(Debug, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn report(&self, _progress: Progress) {}
}

/// A sink shared by the tasks of an executor.
pub type SharedProgress = Arc<dyn ProgressSink>;
