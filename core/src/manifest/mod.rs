//! Manifests of published models and records of runs.

mod adaptation;
mod data;
mod epoch;
mod evaluation;
mod nuisance_use;
mod record;
mod shortcut;

use serde::{Deserialize, Serialize};

pub use adaptation::{ADAPTATIONS_MAX, Adaptation};
pub use data::{DataProfile, Leak};
pub use epoch::{EpochReport, Timing};
pub use evaluation::{
    EvaluationKind, EvaluationRecord, EvaluationResult, SOURCE_CHARS_MAX, STRESS_ROWS_MAX, StressRow,
};
pub use nuisance_use::{NuisanceUse, USE_BOUND, USES_MAX, Verdict, sort_uses, strong_uses, summary_of_uses};
pub use record::{
    ChildRun, ChildStatus, EpochTally, ExchangeRecord, RunRecord, RunStatus, Staleness, Unvalidated, WorkerExchange,
};
pub use shortcut::{SHORTCUT_BOUND, Shortcut, strong_shortcuts};

use crate::ids::{ModelName, RunId};
use crate::metrics::definitions::{accuracy, roc_auc};
use crate::metrics::{Calibration, ClassPrior, Report, frequencies};
use crate::options::{Architecture, ClassWeights, Intensity, Loss, ModelSpec, Precision, Resize};
use crate::transfer::Transfer;

/// The version of the manifest format. It is raised when an older version of Tusk would misread a manifest.
pub const FORMAT_VERSION: u32 = 5;

/// The preprocessing of images, which is the same in training and prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Side of the net input, in pixels. Images are resized with antialiased bilinear interpolation.
    pub image_size: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
    /// Subtracted from values in [0, 1].
    pub mean: f64,
    /// Standard deviation that values are divided by.
    pub std: f64,
    /// Share of the side that is cut off at each border of the image as it was stored.
    #[serde(default)]
    pub border_crop: f64,
    /// How an image becomes a square.
    #[serde(default = "stretched")]
    pub resize: Resize,
    /// Adjustment of the grey levels after resizing.
    #[serde(default = "as_stored")]
    pub intensity: Intensity,
}

fn stretched() -> Resize {
    Resize::Stretch
}

fn as_stored() -> Intensity {
    Intensity::None
}

impl Preprocessing {
    /// Returns preprocessing without a border crop or intensity adjustment, which does not keep the ratio of width to height.
    #[must_use]
    pub fn plain(image_size: u32, channels: u8, mean: f64, std: f64) -> Self {
        Self { image_size, channels, mean, std, border_crop: 0.0, resize: stretched(), intensity: as_stored() }
    }

    /// Returns a text of everything that decoded pixels depend on. Shards with equal texts can be shared.
    #[must_use]
    pub fn pixels(&self) -> String {
        let Self { image_size, channels, border_crop, resize, intensity, .. } = self;
        format!("{channels}x{image_size} crop {border_crop} resize {resize} {intensity}")
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

/// The definition of a model: everything except the weights that prediction needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDefinition {
    /// The options.
    pub spec: ModelSpec,
    /// The classes, in the order of the outputs of the net.
    pub classes: Vec<String>,
    /// The index of the positive class, if there are two classes.
    pub positive: Option<usize>,
    /// The loss. It also decides how outputs are converted to probabilities.
    pub loss: Loss,
    /// The number format, resolved from `precision = 'auto'`.
    pub precision: Precision,
    /// The preprocessing.
    pub preprocessing: Preprocessing,
    /// Weight of each class in the loss.
    pub class_weights: Vec<f64>,
}

/// Maximum number of workers of a run.
pub const WORKERS_MAX: u32 = 10_000;

/// Maximum number of classes of a model. More suggest a wrong label column.
pub const CLASSES_MAX: usize = 1000;

/// Maximum side of a net input, in pixels.
pub const IMAGE_SIZE_MAX: u32 = 1024;

/// Maximum number of threads of a worker.
pub const THREADS_MAX: u32 = 4096;

impl ModelDefinition {
    /// Like [`Self::check`], and also checks that the model is not an ensemble.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
    pub fn check_net(&self) -> Result<(), String> {
        if self.spec.architecture == Architecture::Ensemble {
            return Err("an ensemble is not a net".to_owned());
        }
        self.check()
    }

    /// Checks that the values are valid, because files and messages are not trusted. During the profile job there are
    /// no classes yet.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
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
    /// The run that trained it.
    pub run: RunId,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The definition.
    pub definition: ModelDefinition,
    /// The threshold. Only for two classes.
    pub threshold: Option<f64>,
    /// The interval of the threshold over resampled validation rows.
    #[serde(default)]
    pub threshold_range: Option<(f64, f64)>,
    /// The calibration, fitted on the validation rows. In JSON its `temperature` and `bias` are fields of the manifest.
    #[serde(default, flatten)]
    pub calibration: Option<Calibration>,
    /// The metrics of the validation rows, with intervals.
    #[serde(default)]
    pub validation: Option<Report>,
    /// The epoch of the weights.
    pub best_epoch: u32,
    /// All epochs.
    pub epochs: Vec<EpochReport>,
    /// Statistics of the rows.
    pub data: DataProfile,
    /// How far the scores of the validation rows follow nuisances, the strongest first. `None` if it was not measured.
    #[serde(default)]
    pub uses: Option<Vec<NuisanceUse>>,
    /// Which initial weights fit, if the run did not start from random weights.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Number of parameters of the net.
    pub parameters: u64,
    /// The weights.
    pub weights: FileRef,
    /// Version of Tusk.
    pub tusk_version: String,
    /// The members of an ensemble. Empty for a single net. Names of tensors start with the name of the member, such as
    /// `fold-1.conv1.weight`.
    #[serde(default)]
    pub members: Vec<Member>,
    /// The adaptations to sites, the first one first. The threshold, the calibration and the metrics are from before
    /// them.
    #[serde(default)]
    pub adapted: Vec<Adaptation>,
}

/// A member of an ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The name of the fold or model.
    pub name: String,
    /// The definition.
    pub definition: ModelDefinition,
}

/// Maximum number of members of a model.
pub const MEMBERS_MAX: usize = 100;

impl Manifest {
    /// Checks that this version can read the manifest and predict with the model.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
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
        if self.adapted.len() > ADAPTATIONS_MAX {
            return Err(format!("a model must have at most {ADAPTATIONS_MAX} adaptations, got {}", self.adapted.len()));
        }
        self.adapted.iter().try_for_each(|adaptation| adaptation.check(classes))?;
        if self.members.is_empty() { self.definition.check_net() } else { self.definition.check() }
    }

    /// Returns the class frequencies for which the probabilities are corrected: those of the last adaptation.
    #[must_use]
    pub fn prior(&self) -> Option<&ClassPrior> {
        self.adapted.last()?.prior.as_ref()
    }

    /// Returns the calibration of the probabilities that `predict_proba` returns. It is the fitted one, unless these
    /// are corrected for the class frequencies of a site.
    #[must_use]
    pub fn calibration_of_corrected(&self) -> Option<Calibration> {
        let calibration = self.calibration.as_ref()?;
        Some(self.prior().map_or_else(|| calibration.clone(), |prior| prior.calibration(calibration)))
    }

    /// Returns the class frequencies that the probabilities of the nets assume: those of the training rows times the
    /// class weights. The validation rows stand for the training rows of an ensemble of models, which are not in its
    /// manifest. `None` if there are neither.
    #[must_use]
    pub fn assumed_frequencies(&self) -> Option<Vec<f64>> {
        let classes = self.definition.classes.len();
        if self.definition.spec.training.class_weights == ClassWeights::Auto {
            return frequencies(&vec![1.0; classes]);
        }
        let counts = if self.data.train_rows.is_empty() { &self.data.val_rows } else { &self.data.train_rows };
        let weights = self.definition.class_weights.iter();
        let weighted = self.definition.classes.iter().zip(weights);
        let count = |class: &String| counts.get(class).copied().unwrap_or(0) as f64;
        frequencies(&weighted.map(|(class, weight)| count(class) * weight).collect::<Vec<_>>())
    }

    /// Returns the class frequencies of the validation rows. `None` if a class has none.
    #[must_use]
    pub fn validation_frequencies(&self) -> Option<Vec<f64>> {
        let count = |class: &String| self.data.val_rows.get(class).copied().unwrap_or(0) as f64;
        frequencies(&self.definition.classes.iter().map(count).collect::<Vec<_>>())
    }

    /// The nets: the definition of each, and its name if the model has several.
    pub fn nets(&self) -> impl Iterator<Item = (Option<&str>, &ModelDefinition)> {
        let single = self.members.is_empty().then_some((None, &self.definition));
        single.into_iter().chain(self.members.iter().map(|member| (Some(member.name.as_str()), &member.definition)))
    }

    /// Returns the report of the best epoch.
    #[must_use]
    pub fn best(&self) -> Option<&EpochReport> {
        self.epochs.iter().find(|e| e.epoch == self.best_epoch)
    }

    /// ROC AUC on the held-out rows: of the best epoch, or out of fold.
    #[must_use]
    pub fn val_roc_auc(&self) -> Option<f64> {
        let out_of_fold = || self.validation.as_ref()?.metric(&roc_auc::METRIC).value;
        self.best().map_or_else(out_of_fold, |epoch| epoch.val_roc_auc)
    }

    /// Accuracy on the held-out rows: of the best epoch, or out of fold.
    #[must_use]
    pub fn val_accuracy(&self) -> Option<f64> {
        let out_of_fold = || self.validation.as_ref()?.metric(&accuracy::METRIC).value;
        self.best().map_or_else(out_of_fold, |epoch| epoch.val_accuracy)
    }
}
