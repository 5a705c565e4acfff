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
