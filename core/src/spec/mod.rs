//! What a model is to be: the validated form of `USING architecture OPTIONS (...)`.

mod augment;
mod averaging;
mod exchange;
mod options;
mod transfer;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use augment::{Augment, Transform};
pub use options::{OPTIONS, OptionDef, parse};
pub use value::OptionValue;

use crate::error::{Error, Result, nearest};
use crate::ids::ModelName;

/// An enumeration whose variants are written as words in SQL, JSON and messages alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every word, in the order of the documentation.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for this variant.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant for a word, ignoring case.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($word) { return Some(Self::$variant); })+
                None
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The nets that can be trained.
    Architecture {
        /// A residual CNN of 0.4 M parameters for grey pictures of 128 pixels.
        Cnn = "cnn",
        /// The plain CNN that comparisons with other systems train, 0.4 M parameters, grey pictures of 128 pixels.
        CnnReference = "cnn_reference",
        /// VGG-16 (Simonyan & Zisserman 2014), 134 M parameters, pictures of 224 pixels.
        Vgg16 = "vgg16",
        /// ResNet-18 (He et al. 2015), 11 M parameters, pictures of 224 pixels.
        Resnet18 = "resnet18",
        /// ResNet-50 (He et al. 2015), 24 M parameters, pictures of 224 pixels.
        Resnet50 = "resnet50",
        /// DenseNet-121 (Huang et al. 2016), 7 M parameters, pictures of 224 pixels.
        Densenet121 = "densenet121",
        /// A linear support vector machine, pictures of 128 pixels.
        Svm = "svm",
    }
}

words! {
    /// What training minimises.
    Loss {
        /// One logit, sigmoid, cross-entropy. Two classes.
        BinaryCrossentropy = "binary_crossentropy",
        /// A logit per class, softmax, cross-entropy.
        CategoricalCrossentropy = "categorical_crossentropy",
        /// The squared distance of the probabilities to the one-hot truth; of the positive class alone where there
        /// are two.
        MeanSquaredError = "mean_squared_error",
        /// How far an output is short of a margin of 1 on its class's side; summed over the classes, each against
        /// all others, where there are more than two.
        Hinge = "hinge",
    }
}

words! {
    /// What a support vector machine sees of a picture.
    Features {
        /// Histograms of oriented gradients (Dalal & Triggs 2005).
        Hog = "hog",
        /// Its pixels.
        Pixels = "pixels",
    }
}

words! {
    /// How weights follow gradients.
    Optimizer {
        /// Stochastic gradient descent with momentum; weight decay is added to the gradient.
        Sgd = "sgd",
        /// Adam (Kingma & Ba 2015); weight decay is added to the gradient.
        Adam = "adam",
        /// AdamW (Loshchilov & Hutter 2019); weight decay acts on the weights.
        Adamw = "adamw",
    }
}

words! {
    /// How the learning rate moves over a run.
    Schedule {
        /// It stays.
        Constant = "constant",
        /// A tenth after each third of the epochs.
        Step = "step",
        /// Linear warm-up, then half a cosine down to zero (one cycle; Smith & Topin 2018).
        Cosine = "cosine",
    }
}

words! {
    /// When workers exchange what they learned.
    Mode {
        /// All wait for the mean of all, once per epoch.
        Synchronous = "synchronous",
        /// Nobody waits: every worker pulls weights and pushes what it changed, one push at a time, in the order of
        /// arrival.
        Asynchronous = "asynchronous",
        /// As asynchronous, but pushes are not kept apart: those that meet are mixed tensor by tensor (Niu et al.
        /// 2011, arXiv 1106.5730).
        Hogwild = "hogwild",
    }
}

words! {
    /// How often workers exchange.
    Frequency {
        /// After every pass over their rows.
        Epoch = "epoch",
        /// After every batch.
        Batch = "batch",
    }
}

words! {
    /// What the scheduler does with the mean of the workers.
    OuterOptimizer {
        /// It is the next version.
        Average = "average",
        /// The step from the last version to the mean feeds a momentum on the scheduler: FedAvgM (Hsu, Qi & Brown
        /// 2019, arXiv 1909.06335), SlowMo (Wang et al. 2020, arXiv 1910.00643).
        Momentum = "momentum",
    }
}

words! {
    /// The number format of the arithmetic inside the net. Weights are always kept in f32.
    Precision {
        /// bf16 where the processor has instructions for it, else f32.
        Auto = "auto",
        /// 32-bit floats.
        F32 = "f32",
        /// 16-bit brain floats for convolutions, 32-bit for everything that sums.
        Bf16 = "bf16",
    }
}

words! {
    /// Which weights stay as they start.
    Freeze {
        /// All learn.
        None = "none",
        /// All but the last layer's; normalisation then uses the running statistics that it came with.
        Backbone = "backbone",
    }
}

impl Architecture {
    /// The side of the square picture that the net is made for, in pixels.
    #[must_use]
    pub fn default_image_size(self) -> u32 {
        match self {
            Self::Cnn | Self::CnnReference | Self::Svm => 128,
            Self::Vgg16 | Self::Resnet18 | Self::Resnet50 | Self::Densenet121 => 224,
        }
    }
}

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
    /// Random changes to training pictures.
    pub augment: Augment,
    /// How much a class counts.
    pub class_weights: ClassWeights,
    /// Share of the rows (of the groups, where there are groups) held out.
    pub validation_fraction: f64,
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
        // What others are compared with trains as their examples do.
        let plain = architecture == Architecture::CnnReference;
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
            optimizer: if plain { Optimizer::Adam } else { Optimizer::Adamw },
            learning_rate: match architecture {
                Architecture::Cnn => 3e-3,
                Architecture::CnnReference
                | Architecture::Resnet18
                | Architecture::Resnet50
                | Architecture::Densenet121
                | Architecture::Svm => 1e-3,
                // Nothing is normalised inside it: larger steps do not come back.
                Architecture::Vgg16 => 1e-4,
            },
            momentum: 0.9,
            weight_decay: if plain { 0.0 } else { 0.05 },
            schedule: if plain { Schedule::Constant } else { Schedule::Cosine },
            mode: Mode::Synchronous,
            frequency: each_epoch(),
            outer_optimizer: average(),
            outer_momentum: outer_momentum(),
            outer_learning_rate: outer_learning_rate(),
            averages_per_epoch: None,
            scale_learning_rate: true,
            workers: None,
            image_size: architecture.default_image_size(),
            channels: 1,
            normalize: Normalize::FromData,
            augment: Augment::xray(),
            class_weights: ClassWeights::Auto,
            validation_fraction: 0.1,
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
            None if self.architecture == Architecture::Svm => Ok(Loss::Hinge),
            None if classes == 2 => Ok(Loss::BinaryCrossentropy),
            None => Ok(Loss::CategoricalCrossentropy),
        }
    }
}

/// The architecture that a word names.
///
/// # Errors
/// [`Error::InvalidOption`] with the nearest name.
pub fn architecture(word: &str) -> Result<Architecture> {
    Architecture::from_word(word).ok_or_else(|| Error::InvalidOption {
        option: "USING".into(),
        value: format!("'{word}'"),
        expected: Architecture::WORDS.join(", "),
        suggestion: nearest(word, Architecture::WORDS.iter().copied()),
    })
}
