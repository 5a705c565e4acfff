//! Enumerations that options choose from by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enumeration whose variants have a name, the same in SQL, JSON and messages.
macro_rules! choices {
    ($(#[$doc:meta])* $choice:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $choice { $($(#[$variant_doc])* #[serde(rename = $name)] $variant),+ }

        impl $choice {
            /// Every name, in the order of the documentation.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name of this variant.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The variant of this name, ignoring case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                $(if name.eq_ignore_ascii_case($name) { return Some(Self::$variant); })+
                None
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::options::accepts::QuotedText for $choice {
            fn from_text(text: &str) -> Option<Self> {
                Self::from_name(text)
            }

            fn expected() -> String {
                $crate::options::accepts::quoted(Self::NAMES)
            }

            fn to_text(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}

choices! {
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

choices! {
    /// What a support vector machine sees of an image.
    Features {
        /// Histograms of oriented gradients (Dalal & Triggs 2005).
        Hog = "hog",
        /// Its pixels.
        Pixels = "pixels",
    }
}

choices! {
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

choices! {
    /// How often workers exchange.
    Frequency {
        /// After every pass over their rows.
        Epoch = "epoch",
        /// After every batch.
        Batch = "batch",
    }
}

choices! {
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

choices! {
    /// Which weights stay as they start.
    Freeze {
        /// All learn.
        None = "none",
        /// All but the last layer's; normalisation then uses the running statistics that it came with.
        Backbone = "backbone",
    }
}

choices! {
    /// What happens to an image's grey levels before the net sees them.
    Intensity {
        /// They stay.
        None = "none",
        /// The 1st and the 99th percentile of each image become black and white.
        Stretch = "stretch",
        /// Contrast-limited adaptive histogram equalisation (Zuiderveld 1994): 8 x 8 tiles, clip limit 2.
        Clahe = "clahe",
    }
}

choices! {
    /// How an image becomes a square.
    Resize {
        /// It is resized without keeping the ratio of width to height. The ratio then shows in the shapes of the image.
        Stretch = "stretch",
        /// It is resized until its longer side fits, and centred on black.
        Pad = "pad",
        /// Its middle is resized. The ends of its longer side are cut off.
        Crop = "crop",
    }
}

choices! {
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

choices! {
    /// What becomes of shortcuts: what has nothing to do with the subject of the images and yet tells their classes apart.
    OnShortcut {
        /// They are measured and reported.
        Warn = "warn",
        /// The statement fails if a shortcut has a ROC AUC of 0.7 or more.
        Fail = "fail",
        /// They are not measured.
        Ignore = "ignore",
    }
}

choices! {
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

choices! {
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
