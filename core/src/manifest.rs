//! What is known about a published model, and about a run that may not be finished.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, RunId};
use crate::spec::{Loss, ModelSpec, Precision};
use crate::transfer::Transfer;

/// The version of the manifest's format. Raised when a reader of the old form would misread the new one.
pub const FORMAT_VERSION: u32 = 1;

/// What happens to an image between its bytes and the net, at training and at prediction alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Side of the square picture, in pixels; resized with antialiased bilinear interpolation.
    pub image_size: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
    /// Subtracted from values in [0, 1].
    pub mean: f64,
    /// Divided by.
    pub std: f64,
}

/// One epoch, as CREATE MODEL and SHOW TRAINING report it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of the training rows, augmented and weighted.
    pub train_loss: f64,
    /// Mean weighted loss of the held-out rows.
    pub val_loss: Option<f64>,
    /// Share of held-out rows that are classed right at a threshold of 0.5 (the likeliest class).
    pub val_accuracy: Option<f64>,
    /// ROC AUC of the held-out rows (the mean over classes where there are more than two).
    pub val_roc_auc: Option<f64>,
    /// Learning rate at the epoch's last step.
    pub learning_rate: f64,
    /// Training rows used.
    pub images: u64,
    /// Rows that could not be read.
    pub skipped: u64,
    /// Workers.
    pub workers: u32,
    /// Images that had to be decoded for it: 0 where every worker found its shard.
    #[serde(default)]
    pub decoded: u64,
    /// Wall time of the epoch, validation and checkpoint included.
    pub seconds: f64,
    /// Parts of that time.
    pub timing: Timing,
}

/// Where time went, in seconds. Workers that run side by side add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Reading, decoding and resizing images into shards.
    pub decode: f64,
    /// The training loops.
    pub train: f64,
    /// Scoring held-out rows.
    pub validate: f64,
    /// The part of `train` and `validate` spent inside calls to libtorch.
    pub libtorch: f64,
    /// Averaging the workers' updates.
    pub aggregate: f64,
    /// Writing checkpoints.
    pub checkpoint: f64,
    /// Pulling weights from the parameter service and pushing what was learned.
    #[serde(default)]
    pub exchange: f64,
}

impl std::ops::AddAssign for Timing {
    fn add_assign(&mut self, other: Self) {
        self.decode += other.decode;
        self.train += other.train;
        self.validate += other.validate;
        self.libtorch += other.libtorch;
        self.aggregate += other.aggregate;
        self.checkpoint += other.checkpoint;
        self.exchange += other.exchange;
    }
}

/// What the profile job found out about the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataProfile {
    /// Readable training rows per class.
    pub train_rows: BTreeMap<String, u64>,
    /// Readable held-out rows per class.
    pub val_rows: BTreeMap<String, u64>,
    /// Rows that could not be read.
    pub skipped: u64,
    /// Readable rows per worker.
    pub rows_per_worker: Vec<u64>,
    /// Readable training rows per worker.
    #[serde(default)]
    pub train_rows_per_worker: Vec<u64>,
    /// A digest of the readable rows' content and labels, the same in whatever order they stand.
    pub fingerprint: String,
}

/// A stored tensor file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its path inside the store.
    pub path: String,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub checksum: String,
}

/// What a net needs to be built and read: enough to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDefinition {
    /// What was asked for.
    pub spec: ModelSpec,
    /// The classes; a class's place is its index in the net's output.
    pub classes: Vec<String>,
    /// The index of the positive class, where there are two.
    pub positive: Option<usize>,
    /// The loss, which also decides how outputs become probabilities.
    pub loss: Loss,
    /// The number format that `precision = 'auto'` became.
    pub precision: Precision,
    /// What happens to an image before the net.
    pub preprocessing: Preprocessing,
    /// Weight of each class in the loss.
    pub class_weights: Vec<f64>,
}

/// The most workers of a run.
pub const WORKERS_MAX: u32 = 10_000;

/// The most classes of a model; more are a wrong column.
pub const CLASSES_MAX: usize = 1000;

/// The largest side of a picture that a net sees, in pixels.
pub const IMAGE_SIZE_MAX: u32 = 1024;

/// The most threads of a worker.
pub const THREADS_MAX: u32 = 4096;

impl ModelDefinition {
    /// Whether a net can be built from it: what comes from a file or over the network may hold anything. While the
    /// rows are being profiled there are no classes yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Preprocessing { image_size, channels, mean, std } = self.preprocessing;
        let classes = self.classes.len();
        if image_size == 0 || image_size > IMAGE_SIZE_MAX || !matches!(channels, 1 | 3) {
            return Err(format!("pictures of {channels} channels and {image_size} pixels cannot be"));
        }
        if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
            return Err(format!("pixels cannot be centred at {mean} and scaled by {std}"));
        }
        if self.spec.batch_size == 0 {
            return Err("batches of no rows cannot be".to_owned());
        }
        if classes > CLASSES_MAX || self.class_weights.len() != classes {
            return Err(format!("{classes} classes with {} weights cannot be", self.class_weights.len()));
        }
        match self.positive {
            Some(positive) if classes != 2 || positive > 1 => {
                Err(format!("class {positive} of {classes} cannot be the positive one"))
            }
            _ => Ok(()),
        }
    }
}

/// A published model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The model.
    pub name: ModelName,
    /// The run that made it.
    pub run: RunId,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// What it is.
    pub definition: ModelDefinition,
    /// The probability of the positive class from which a row counts as positive; two classes only.
    pub threshold: Option<f64>,
    /// What logits are divided by so that probabilities mean what they say, found on the validation rows.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// The epoch whose weights these are.
    pub best_epoch: u32,
    /// All epochs.
    pub epochs: Vec<EpochReport>,
    /// The rows it learned from.
    pub data: DataProfile,
    /// What became of the weights that it started from, where these were not the seed's.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Values in the net.
    pub parameters: u64,
    /// The weights.
    pub weights: FileRef,
    /// Version of Tusk.
    pub tusk_version: String,
}

impl Manifest {
    /// Whether it is of a kind that this version reads, and can be predicted with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.format_version != FORMAT_VERSION {
            let found = self.format_version;
            return Err(format!("it has format {found} and this version of Tusk reads format {FORMAT_VERSION}"));
        }
        if self.definition.classes.len() < 2 {
            return Err(format!("{} classes are too few", self.definition.classes.len()));
        }
        self.definition.check()
    }

    /// The report of the best epoch.
    #[must_use]
    pub fn best(&self) -> Option<&EpochReport> {
        self.epochs.iter().find(|e| e.epoch == self.best_epoch)
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Epochs are under way (or the process that ran them is gone).
    Running,
    /// The model is published.
    Finished,
    /// It was cancelled and can be resumed.
    Cancelled,
    /// It failed and can be resumed.
    Failed,
}

impl RunStatus {
    /// The word that SHOW TRAINING shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// Everything needed to go on with a run, written after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The model it is to become.
    pub model: ModelName,
    /// How far it is.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What it trains; its spec is what a resumed statement must ask for.
    pub definition: ModelDefinition,
    /// Workers.
    pub workers: u32,
    /// Threads per worker: part of the arithmetic's order, so part of the run.
    pub threads: u32,
    /// The rows.
    pub data: DataProfile,
    /// Seconds of the profile job, with the decoding in it.
    pub profile_seconds: f64,
    /// The decoding in it, added up over workers.
    pub profile_timing: Timing,
    /// What became of the weights it started from, where these were not the seed's.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Epochs so far.
    pub epochs: Vec<EpochReport>,
    /// The best of them.
    pub best_epoch: Option<u32>,
    /// Weights and moments after the last epoch.
    pub last: Option<FileRef>,
    /// Weights after the best epoch.
    pub best: Option<FileRef>,
    /// How far the workers are that exchange by the parameter service; `None` in synchronous mode.
    #[serde(default)]
    pub exchange: Option<ExchangeRecord>,
}

/// How far the workers of an asynchronous run are, as of its last checkpoint: with it every worker goes on at the batch
/// where it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    /// Per worker, how far it is and how stale its pushes were.
    pub workers: Vec<WorkerExchange>,
    /// Epochs that some workers have begun and not all have ended, and what is known of them.
    pub open: Vec<EpochTally>,
    /// Epochs that are checkpointed and not validated yet.
    pub unvalidated: Vec<Unvalidated>,
}

impl ExchangeRecord {
    /// How stale the pushes of all workers were.
    #[must_use]
    pub fn staleness(&self) -> Staleness {
        self.workers.iter().fold(Staleness::default(), |all, worker| Staleness {
            pushes: all.pushes + worker.staleness.pushes,
            sum: all.sum.saturating_add(worker.staleness.sum),
            max: all.max.max(worker.staleness.max),
        })
    }
}

/// One worker of an asynchronous run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerExchange {
    /// The last push that was applied; they are numbered from 1.
    pub step: u64,
    /// The epochs it has ended.
    pub epochs: u32,
    /// How stale its pushes were.
    pub staleness: Staleness,
}

/// Staleness of a worker's pushes: how many pushes of others were applied between its pull and its push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Staleness {
    /// Pushes counted.
    pub pushes: u64,
    /// The sum over them.
    pub sum: u64,
    /// The largest.
    pub max: u64,
}

impl Staleness {
    /// Counts a push.
    pub fn count(&mut self, staleness: u64) {
        self.pushes += 1;
        self.sum = self.sum.saturating_add(staleness);
        self.max = self.max.max(staleness);
    }

    /// The mean; `None` before the first push.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.pushes > 0).then(|| self.sum as f64 / self.pushes as f64)
    }
}

/// What is known of an epoch of an asynchronous run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochTally {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Rows trained on.
    pub rows: u64,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Workers that have ended it.
    pub workers: u32,
    /// Images that had to be decoded for it.
    pub decoded: u64,
    /// Where their time went.
    pub timing: Timing,
    /// Wall time since the epoch before.
    pub seconds: f64,
}

/// Epochs whose checkpoint is written and whose validation is still to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unvalidated {
    /// Epochs that ended before the checkpoint was taken; more than one where the checkpoint came late.
    pub epochs: Vec<EpochTally>,
    /// The checkpoint.
    pub file: FileRef,
}

impl RunRecord {
    /// Whether the run can be gone on with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Self { workers, threads, .. } = self;
        if !(1..=WORKERS_MAX).contains(workers) || !(1..=THREADS_MAX).contains(threads) {
            return Err(format!("{workers} workers of {threads} threads cannot be"));
        }
        self.definition.check()
    }
}
