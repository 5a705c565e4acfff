//! The report of an epoch.

use serde::{Deserialize, Serialize};

/// One epoch, as CREATE MODEL and SHOW TRAINING report it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Mean loss of the training rows, augmented and weighted.
    pub train_loss: f64,
    /// Mean weighted loss of the held-out rows.
    pub val_loss: Option<f64>,
    /// Share of held-out rows whose most probable class is the true one. Of equal probabilities, the first class
    /// counts.
    pub val_accuracy: Option<f64>,
    /// ROC AUC of the held-out rows (the mean over classes if there are more than two).
    pub val_roc_auc: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Training rows used.
    pub images: u64,
    /// Unreadable rows.
    pub skipped: u64,
    /// Number of workers.
    pub workers: u32,
    /// The fold or trial, such as `fold-1`, if the run has several.
    #[serde(default, alias = "part")]
    pub child: Option<String>,
    /// Images decoded in this epoch. 0 if all shards were already decoded.
    #[serde(default)]
    pub decoded: u64,
    /// Wall time of the epoch, including validation and checkpoint.
    pub seconds: f64,
    /// Times of the parts of the epoch.
    pub timing: Timing,
}

/// Times of parts of a task or an epoch, in seconds, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Reading, decoding and resizing images into shards.
    pub decode: f64,
    /// Training.
    pub train: f64,
    /// Scoring held-out rows.
    pub validate: f64,
    /// The part of `train` and `validate` spent inside calls to libtorch.
    pub libtorch: f64,
    /// Averaging the weights of workers.
    pub aggregate: f64,
    /// Writing checkpoints.
    pub checkpoint: f64,
    /// Pulls from and pushes to the parameter server.
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
