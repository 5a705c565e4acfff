//! What a model is to be: the validated form of `USING architecture OPTIONS (...)`.

mod augment;
mod averaging;
mod exchange;
mod folds;
mod options;
mod search;
mod table;
mod transfer;
mod value;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use augment::{Augment, Transform};
pub use options::parse;
pub use search::{Dimension, Search, Values};
pub use table::{OPTIONS, OptionDef};
pub use value::OptionValue;
pub(crate) use words::words;
pub use words::{
    Features, Freeze, Frequency, Intensity, Loss, Mode, Objective, OnLeak, Optimizer, OuterOptimizer, Precision,
    Schedule, SearchStrategy,
};

use crate::error::{Error, Result, nearest};
use crate::ids::ModelName;
pub use crate::nets::Architecture;

/// Which device a worker trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The first CUDA device, or the CPU where there is none.
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA device N.
    Cuda(usize),
}

/// Subtracted and divided by, per picture value in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Mean and standard deviation of the training rows.
    FromData,
    /// Pixel values stay in [0, 1].
    None,
    /// Given mean and standard deviation.
    Given {
        /// Mean, in [0, 1].
        mean: f64,
        /// Standard deviation, above 0.
        std: f64,
    },
}

/// How much a row of a class counts in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// total / (rows of the class * classes), so that every class weighs the same.
    Auto,
    /// 1 for every class.
    None,
    /// Given per class; classes not named weigh 1.
    Given(BTreeMap<String, f64>),
}

/// Where a probability becomes the positive class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// The cut with the best balanced accuracy on the validation rows.
    Auto,
    /// Given, in (0, 1).
    Given(f64),
}

/// Everything that a statement asks of a model. Two equal specs on equal data give equal models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The net.
    pub architecture: Architecture,
    /// Column of the images: encoded bytes, or Spark's image struct.
    pub image: String,
    /// Column of the labels: text, or whole numbers.
    pub label: String,
    /// Column whose rows stay on one side of a split (the patient).
    pub group: Option<String>,
    /// Passes over the training rows.
    pub epochs: u32,
    /// Rows per step and worker.
    pub batch_size: u32,
    /// Where every random number of the run comes from.
    pub seed: u64,
    /// What a support vector machine sees.
    #[serde(default = "hog")]
    pub features: Features,
    /// What is minimised; `None` means what [`ModelSpec::loss_for`] says.
    pub loss: Option<Loss>,
    /// How weights follow gradients.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Momentum of SGD; the first beta of Adam and AdamW.
    pub momentum: f64,
    /// Weight decay; not applied to biases and normalisation.
    pub weight_decay: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// When workers exchange.
    pub mode: Mode,
    /// How often workers exchange.
    #[serde(default = "each_epoch")]
    pub frequency: Frequency,
    /// What the scheduler does with the mean of the workers.
    #[serde(default = "average")]
    pub outer_optimizer: OuterOptimizer,
    /// How much of its last step the outer optimizer repeats.
    #[serde(default = "outer_momentum")]
    pub outer_momentum: f64,
    /// How far the outer optimizer goes.
    #[serde(default = "outer_learning_rate")]
    pub outer_learning_rate: f64,
    /// How often an epoch's workers are averaged, in synchronous mode; `None` means what [`ModelSpec::averages`] says.
    #[serde(default = "once")]
    pub averages_per_epoch: Option<u32>,
    /// Whether the learning rate grows with the square root of the workers that are averaged.
    #[serde(default)]
    pub scale_learning_rate: bool,
    /// Workers; `None` means one per executor device.
    pub workers: Option<u32>,
    /// Side of the square picture that the net sees, in pixels.
    pub image_size: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
    /// How pixel values are centred and scaled.
    pub normalize: Normalize,
    /// Share of the side that is cut off at each border, before anything else.
    #[serde(default)]
    pub border_crop: f64,
    /// What happens to grey levels.
    #[serde(default = "unchanged")]
    pub intensity: Intensity,
    /// Random changes to training pictures.
    pub augment: Augment,
    /// Both parameters of the beta distribution that pictures are mixed by; 0 mixes none.
    #[serde(default)]
    pub mixup: f64,
    /// How much a class counts.
    pub class_weights: ClassWeights,
    /// Share of the rows (of the groups, where there are groups) held out.
    pub validation_fraction: f64,
    /// Parts that the rows are cut into, each held out by a net of its own; the model is the mean of these nets.
    #[serde(default)]
    pub folds: Option<u32>,
    /// Which of them this net holds out, from 0.
    #[serde(default)]
    pub fold: Option<u32>,
    /// What becomes of training rows that are among the validation rows.
    #[serde(default = "warn")]
    pub on_leak: OnLeak,
    /// Whether to stop when validation stops improving.
    pub early_stop: bool,
    /// Epochs without improvement before an early stop.
    pub patience: u32,
    /// The positive class; `None` means the last in sort order.
    pub positive: Option<String>,
    /// The decision threshold.
    pub threshold: Threshold,
    /// The number format.
    pub precision: Precision,
    /// The device.
    pub device: Device,
    /// Share of unreadable images above which a run fails.
    pub max_bad_fraction: f64,
    /// Decay per step of the moving average of the weights, which is then what is validated and published.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Views of a picture whose probabilities are averaged, in validation and prediction.
    #[serde(default = "one")]
    pub tta: u32,
    /// A model whose weights are the start.
    pub warm_start: Option<ModelName>,
    /// A safetensors file, by path or URL, whose weights are the start; its tensors are named as the net's.
    #[serde(default)]
    pub weights: Option<String>,
    /// Which weights stay as they start.
    #[serde(default = "nothing")]
    pub freeze: Freeze,
    /// The models of an ensemble.
    #[serde(default)]
    pub members: Vec<ModelName>,
    /// What is to be tried, and how.
    #[serde(default)]
    pub search: Search,
}

/// Defaults of options that came later, so that models of before are still read.
fn each_epoch() -> Frequency {
    Frequency::Epoch
}

fn average() -> OuterOptimizer {
    OuterOptimizer::Average
}

fn one() -> u32 {
    1
}

fn nothing() -> Freeze {
    Freeze::None
}

fn unchanged() -> Intensity {
    Intensity::None
}

fn warn() -> OnLeak {
    OnLeak::Warn
}

fn hog() -> Features {
    Features::Hog
}

/// 0.5: there are some tens of outer steps, or a few hundred, too few for a longer memory; a steady direction is then
/// followed twice as far. SlowMo's authors found 0.4 to 0.8 good, and larger values to diverge with few steps.
fn outer_momentum() -> f64 {
    0.5
}

fn outer_learning_rate() -> f64 {
    1.0
}

/// What models were trained with before there was a choice.
fn once() -> Option<u32> {
    Some(1)
}

impl ModelSpec {
    /// The defaults of an architecture.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        let net = architecture.defaults();
        Self {
            architecture,
            image: "image".into(),
            label: "label".into(),
            group: None,
            epochs: 20,
            batch_size: 32,
            seed: 42,
            features: hog(),
            loss: None,
            optimizer: net.optimizer,
            learning_rate: net.learning_rate,
            momentum: 0.9,
            weight_decay: net.weight_decay,
            schedule: net.schedule,
            mode: Mode::Synchronous,
            frequency: each_epoch(),
            outer_optimizer: average(),
            outer_momentum: outer_momentum(),
            outer_learning_rate: outer_learning_rate(),
            averages_per_epoch: None,
            scale_learning_rate: true,
            workers: None,
            image_size: net.image_size,
            channels: 1,
            normalize: Normalize::FromData,
            border_crop: 0.0,
            intensity: unchanged(),
            augment: Augment::xray(),
            mixup: 0.0,
            class_weights: ClassWeights::Auto,
            validation_fraction: 0.1,
            folds: None,
            fold: None,
            on_leak: warn(),
            early_stop: true,
            patience: 5,
            positive: None,
            threshold: Threshold::Auto,
            precision: Precision::Auto,
            device: Device::Auto,
            max_bad_fraction: 0.01,
            ema: None,
            tta: one(),
            warm_start: None,
            weights: None,
            freeze: nothing(),
            members: Vec::new(),
            search: Search::default(),
        }
    }

    /// The loss for a number of classes.
    ///
    /// # Errors
    /// [`Error::ConflictingOptions`] for a binary loss on more than two classes.
    pub fn loss_for(&self, classes: usize) -> Result<Loss> {
        match self.loss {
            Some(Loss::BinaryCrossentropy) if classes > 2 => Err(Error::ConflictingOptions {
                message: format!(
                    "loss = 'binary_crossentropy' is for two classes and the table has {classes}; \
                     use loss = 'categorical_crossentropy'"
                ),
            }),
            Some(loss) => Ok(loss),
            None => Ok(match self.architecture.defaults().loss {
                Some(loss) => loss,
                None if classes == 2 => Loss::BinaryCrossentropy,
                None => Loss::CategoricalCrossentropy,
            }),
        }
    }
}

/// The architecture of a name.
///
/// # Errors
/// [`Error::InvalidOption`] with the nearest name.
pub fn architecture(word: &str) -> Result<Architecture> {
    Architecture::from_name(word).ok_or_else(|| Error::InvalidOption {
        option: "USING".into(),
        value: format!("'{word}'"),
        expected: Architecture::NAMES.join(", "),
        suggestion: nearest(word, Architecture::NAMES.iter().copied()),
    })
}
