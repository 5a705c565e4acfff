//! What is known about a published model, and about a run that may not be finished.

mod data;
mod epoch;
mod record;

use serde::{Deserialize, Serialize};

pub use data::{DataProfile, Leak};
pub use epoch::{EpochReport, Timing};
pub use record::{
    EpochTally, ExchangeRecord, PartRecord, PartStatus, RunRecord, RunStatus, Staleness, Unvalidated, WorkerExchange,
};

use crate::ids::{ModelName, RunId};
use crate::metrics::{Calibration, Report};
use crate::options::{Architecture, Intensity, Loss, ModelSpec, Precision};
use crate::transfer::Transfer;

/// The version of the manifest's format. Raised when a reader of the old form would misread the new one.
pub const FORMAT_VERSION: u32 = 3;

/// What happens to an image between its bytes and the net, at training and at prediction alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Side of the square image, in pixels; resized with antialiased bilinear interpolation.
    pub image_size: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
    /// Subtracted from values in [0, 1].
    pub mean: f64,
    /// Divided by.
    pub std: f64,
    /// Share of the side that is cut off at each border of the image as it was stored.
    #[serde(default)]
    pub border_crop: f64,
    /// What happens to the grey levels of the resized image.
    #[serde(default = "as_stored")]
    pub intensity: Intensity,
}

fn as_stored() -> Intensity {
    Intensity::None
}

impl Preprocessing {
    /// The whole image with its grey levels as they are.
    #[must_use]
    pub fn plain(image_size: u32, channels: u8, mean: f64, std: f64) -> Self {
        Self { image_size, channels, mean, std, border_crop: 0.0, intensity: as_stored() }
    }

    /// What the pixels depend on, as text: images of equal ones need to be decoded once.
    #[must_use]
    pub fn pixels(&self) -> String {
        let Self { image_size, channels, border_crop, intensity, .. } = self;
        format!("{channels}x{image_size} crop {border_crop} {intensity}")
    }
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

/// The largest side of an image that a net sees, in pixels.
pub const IMAGE_SIZE_MAX: u32 = 1024;

/// The most threads of a worker.
pub const THREADS_MAX: u32 = 4096;

impl ModelDefinition {
    /// As [`Self::check`], and that it is a net: an ensemble only has members.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_net(&self) -> Result<(), String> {
        if self.spec.architecture == Architecture::Ensemble {
            return Err("an ensemble is not a net".to_owned());
        }
        self.check()
    }

    /// Whether a model can be made of it: what comes from a file or over the network may hold anything. While the
    /// rows are being profiled there are no classes yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Preprocessing { image_size, channels, mean, std, border_crop, .. } = self.preprocessing;
        let classes = self.classes.len();
        if image_size == 0 || image_size > IMAGE_SIZE_MAX || !matches!(channels, 1 | 3) {
            return Err(format!(
                "images must have 1 or 3 channels and 1 to {IMAGE_SIZE_MAX} pixels per side, got {channels} channels and \
                 {image_size} pixels"
            ));
        }
        if !(0.0..0.5).contains(&border_crop) {
            return Err(format!("border_crop must be at least 0 and below 0.5, got {border_crop}"));
        }
        if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
            return Err(format!("the mean and std of pixels must be finite and std above 0, got {mean} and {std}"));
        }
        if self.spec.training.batch_size == 0 {
            return Err("batch_size must be at least 1, got 0".to_owned());
        }
        if classes > CLASSES_MAX || self.class_weights.len() != classes {
            return Err(format!(
                "a model must have at most {CLASSES_MAX} classes and a weight for each, got {classes} classes and {} weights",
                self.class_weights.len()
            ));
        }
        match self.positive {
            Some(positive) if classes != 2 || positive > 1 => {
                Err(format!("the positive class must be 0 or 1 of two classes, got {positive} of {classes}"))
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
    /// Between which values 95 % of the thresholds lie that resampled validation rows give.
    #[serde(default)]
    pub threshold_range: Option<(f64, f64)>,
    /// What makes probabilities mean what they say, found on the validation rows: `temperature` and `bias`, beside the
    /// other properties.
    #[serde(default, flatten)]
    pub calibration: Option<Calibration>,
    /// The metrics of the validation rows, each with its interval.
    #[serde(default)]
    pub validation: Option<Report>,
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
    /// The nets whose probabilities are averaged; empty where there is one. The tensors of each are named after it:
    /// `fold-1.conv1.weight`.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// One net of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name: a fold, or a model that was taken in.
    pub name: String,
    /// What it is.
    pub definition: ModelDefinition,
}

/// The most members of a model.
pub const MEMBERS_MAX: usize = 100;

impl Manifest {
    /// Whether it is of a kind that this version reads, and can be predicted with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=FORMAT_VERSION).contains(&self.format_version) {
            let found = self.format_version;
            return Err(format!("it has format {found} and this version of Tusk reads formats 1 to {FORMAT_VERSION}"));
        }
        if self.members.len() > MEMBERS_MAX {
            return Err(format!("a model must have at most {MEMBERS_MAX} members, got {}", self.members.len()));
        }
        for Member { name, definition } in &self.members {
            definition.check_net().map_err(|reason| format!("member {name}: {reason}"))?;
            if definition.classes != self.definition.classes {
                return Err(format!("member {name} has other classes than the model"));
            }
        }
        if self.definition.classes.len() < 2 {
            return Err(format!("a model must have at least 2 classes, got {}", self.definition.classes.len()));
        }
        let classes = self.definition.classes.len();
        if let Some(calibration) = self.calibration.as_ref().filter(|calibration| !calibration.is_for(classes)) {
            return Err(format!("the calibration {calibration:?} does not fit {classes} classes"));
        }
        if self.members.is_empty() { self.definition.check_net() } else { self.definition.check() }
    }

    /// The report of the best epoch.
    #[must_use]
    pub fn best(&self) -> Option<&EpochReport> {
        self.epochs.iter().find(|e| e.epoch == self.best_epoch)
    }
}
