//! One epoch, and where its time went.

use serde::{Deserialize, Serialize};

/// One epoch, as CREATE MODEL and SHOW TRAINING report it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of the training rows, augmented and weighted.
    pub train_loss: f64,
    /// Mean weighted loss of the held-out rows.
    pub val_loss: Option<f64>,
    /// Share of held-out rows whose likeliest class is the true one, the first of equals being the likeliest.
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
    /// The fold or trial whose epoch it is, such as `fold-1`, where there are several.
    #[serde(default)]
    pub part: Option<String>,
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
    /// Pulling weights from the parameter server and pushing what was learned.
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
