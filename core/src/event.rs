//! Events and progress of runs.

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, RunId, WorkerId};
use crate::manifest::{DataProfile, EpochReport, Manifest};
use crate::transfer::Transfer;

/// The progress of a worker in its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: WorkerId,
    /// The epoch, from 1; if a model is adapted, the number of the net. 0 while images are decoded.
    pub epoch: u32,
    /// Images processed in the epoch.
    pub images: u64,
    /// How many of them were processed by earlier tasks, because an epoch may have several slices.
    #[serde(default)]
    pub images_before: u64,
    /// Total number of images, if it is known.
    pub images_total: Option<u64>,
    /// Images per second since the start of the task.
    pub images_per_second: f64,
    /// Mean loss so far.
    pub loss: Option<f64>,
}

/// An event of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// The run has started, or continues from a checkpoint.
    Started {
        /// The run.
        run: RunId,
        /// The model.
        model: ModelName,
        /// Requested epochs.
        epochs: u32,
        /// Finished epochs of a resumed run.
        resumed_from: u32,
    },
    /// The profile job has finished.
    Profiled {
        /// The result of the profile job.
        data: DataProfile,
        /// Wall time of the profile job.
        seconds: f64,
    },
    /// The images that a model is adapted to are read.
    Adapting {
        /// The new model, or the one that is replaced.
        model: ModelName,
        /// Readable images.
        images: u64,
        /// Unreadable images.
        skipped: u64,
        /// Wall time of reading them.
        seconds: f64,
    },
    /// The initial weights are fitted to the net.
    Transferred {
        /// The source of the weights.
        from: String,
        /// Which weights fit.
        transfer: Transfer,
    },
    /// A worker has made progress.
    Progress(Progress),
    /// An epoch has finished and its checkpoint is written.
    Epoch(EpochReport),
    /// The model is published.
    Finished(Box<Manifest>),
}

/// A callback for the events of runs.
pub type OnEvent = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// Receives the progress of tasks. Must not block.
pub trait ProgressSink: Debug + Send + Sync {
    /// Receives a progress report.
    fn report(&self, progress: Progress);
}

/// A sink that ignores all reports.
#[derive(Debug, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn report(&self, _progress: Progress) {}
}

/// A sink shared by the tasks of an executor.
pub type SharedProgress = Arc<dyn ProgressSink>;
