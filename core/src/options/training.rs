//! Options of training: epochs, loss and seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::accepts::{AnyWhole, Flag, Quoted, QuotedText, Unset, Whole};
use super::declare::options;
use super::{Loss, ModelSpec};
use crate::error::{Error, Result};

options! {
    /// How long a run trains, and which loss it minimises.
    "Training" training: TrainingOptions {
        /// Passes over the training rows.
        epochs: u32 = 20, Whole::Within(1, 10_000), [PerNet];
        /// Rows per step and worker.
        batch_size: u32 = 32, Whole::Within(1, 65_536);
        /// Seed of all random numbers of the run, including the split.
        seed: u64 = 42, AnyWhole, [Fixed];
        /// The loss that training minimises. By default 'binary_crossentropy' for two classes,
        /// 'categorical_crossentropy' for more, 'hinge' for svm.
        loss: Option<Loss> = None, Unset("by classes", Quoted), before None;
        /// Weight of each class in the loss.
        class_weights: ClassWeights = ClassWeights::Auto, Quoted;
        /// Whether to stop when validation stops improving.
        early_stop: bool = true, Flag;
        /// Epochs without improvement before an early stop.
        patience: u32 = 10, Whole::Within(1, 10_000);
    }
}

/// The weight of each class in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// total / (rows of the class * classes), so that all classes have the same total weight.
    Auto,
    /// 1 for every class.
    None,
    /// Given per class. Other classes have weight 1.
    Given(BTreeMap<String, f64>),
}

impl QuotedText for ClassWeights {
    fn from_text(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::None),
            _ => {
                let mut weights = BTreeMap::new();
                for pair in text.split(',') {
                    let (class, weight) = pair.rsplit_once('=')?;
                    let weight: f64 = weight.trim().parse().ok()?;
                    if !(weight.is_finite() && weight >= 0.0) {
                        return None;
                    }
                    weights.insert(class.trim().to_owned(), weight);
                }
                Some(Self::Given(weights))
            }
        }
    }

    fn expected() -> String {
        "'auto', 'none' or 'CLASS=weight, ...' with weights from 0".to_owned()
    }

    fn to_text(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::None => "none".to_owned(),
            Self::Given(weights) => {
                weights.iter().map(|(class, weight)| format!("{class}={weight}")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl ModelSpec {
    /// Returns the loss for a number of classes.
    ///
    /// # Errors
    /// [`Error::ConflictingOptions`] for a binary loss on more than two classes.
    pub fn loss_for(&self, classes: usize) -> Result<Loss> {
        match self.training.loss {
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
