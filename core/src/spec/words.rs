//! The choices of a spec that are written as words.

use std::fmt;

use serde::{Deserialize, Serialize};

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
        /// A residual CNN of 0.9 M parameters for grey pictures of 128 pixels.
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
        /// Models that are there already, asked together: the mean of their probabilities.
        Ensemble = "ensemble",
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

words! {
    /// What happens to a picture's grey levels before the net sees them.
    Intensity {
        /// They stay.
        None = "none",
        /// The 1st and the 99th percentile of each picture become black and white.
        Stretch = "stretch",
        /// Contrast-limited adaptive histogram equalisation (Zuiderveld 1994): 8 x 8 tiles, clip limit 2.
        Clahe = "clahe",
    }
}

words! {
    /// What becomes of training rows that are among the validation rows, too.
    OnLeak {
        /// They are counted and reported.
        Warn = "warn",
        /// The run fails.
        Fail = "fail",
        /// They are not trained on.
        Drop = "drop",
    }
}

words! {
    /// How the trials of a search are chosen.
    SearchStrategy {
        /// Each at random.
        Random = "random",
        /// Every combination of the candidates.
        Grid = "grid",
        /// At random; after an eighth, a quarter and a half of the epochs the worse half stops (successive halving;
        /// Jamieson & Talwalkar 2016, arXiv 1502.07943).
        Halving = "halving",
    }
}

words! {
    /// What makes one trial better than another, on the validation rows.
    Objective {
        /// The largest ROC AUC.
        RocAuc = "roc_auc",
        /// The largest accuracy.
        Accuracy = "accuracy",
        /// The smallest loss.
        Loss = "loss",
    }
}

impl Architecture {
    /// The side of the square picture that the net is made for, in pixels.
    #[must_use]
    pub fn default_image_size(self) -> u32 {
        match self {
            Self::Cnn | Self::CnnReference | Self::Svm | Self::Ensemble => 128,
            Self::Vgg16 | Self::Resnet18 | Self::Resnet50 | Self::Densenet121 => 224,
        }
    }
}
