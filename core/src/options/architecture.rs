//! The nets that can be trained, and what they are trained with where a statement does not say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Optimizer;
use super::choices::choices;
use crate::error::{Error, Result, nearest};
use crate::schedule::{self, Schedule};

choices! {
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

/// Defaults of a net for the options that are declared as `PerNet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetDefaults {
    /// Side of the square picture that the net is made for, in pixels.
    pub image_size: u32,
    /// How its weights follow gradients.
    pub algorithm: Optimizer,
    /// Peak learning rate of one worker.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How its learning rate moves.
    pub schedule: Schedule,
}

impl Architecture {
    /// What the net is trained with where a statement does not say.
    #[must_use]
    pub fn defaults(self) -> NetDefaults {
        // What others are compared with trains as their examples do.
        let plain = self == Self::CnnReference;
        NetDefaults {
            image_size: match self {
                Self::Cnn | Self::CnnReference | Self::Svm | Self::Ensemble => 128,
                Self::Vgg16 | Self::Resnet18 | Self::Resnet50 | Self::Densenet121 => 224,
            },
            algorithm: if plain { Optimizer::Adam } else { Optimizer::Adamw },
            learning_rate: match self {
                Self::Cnn => 3e-3,
                Self::CnnReference
                | Self::Resnet18
                | Self::Resnet50
                | Self::Densenet121
                | Self::Svm
                | Self::Ensemble => 1e-3,
                // Nothing is normalised inside it: larger steps do not come back.
                Self::Vgg16 => 1e-4,
            },
            weight_decay: if plain { 0.0 } else { 0.05 },
            schedule: if plain { schedule::constant::SCHEDULE } else { schedule::cosine::SCHEDULE },
        }
    }
}

/// The architecture of this name.
///
/// # Errors
/// [`Error::InvalidOption`] with the nearest name.
pub fn architecture(name: &str) -> Result<Architecture> {
    Architecture::from_name(name).ok_or_else(|| Error::InvalidOption {
        option: "USING".into(),
        value: format!("'{name}'"),
        expected: Architecture::NAMES.join(", "),
        suggestion: nearest(name, Architecture::NAMES.iter().copied()),
    })
}
