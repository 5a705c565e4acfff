//! Options of prediction.

use serde::{Deserialize, Serialize};

use super::OptionValue;
use super::accepts::{Accepts, Class, Number, Unset, Whole, WordOr};
use super::declare::options;

options! {
    /// How probabilities become a class, in validation and prediction.
    "Prediction" prediction: PredictionOptions {
        /// The positive class, whose probability is compared with the threshold.
        positive: Option<String> = None, Unset("last class", Class), before None, [Fixed];
        /// Probability at or above which an image is positive; 'auto' is the threshold with the best balanced accuracy
        /// on the validation rows and on copies of them that are changed at random as in training.
        threshold: Threshold = Threshold::Auto, Cut, [Ensemble];
        /// Number of views of an image whose probabilities are averaged: the image itself, and rotated, shifted and
        /// zoomed copies.
        tta: u32 = 1, Whole::Within(1, 64), before 1;
    }
}

/// The threshold option.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// The threshold with the best balanced accuracy on the validation rows and on copies that are changed as in training.
    Auto,
    /// A given value in (0, 1).
    Given(f64),
}

/// The values of a [`Threshold`].
struct Cut;

impl Cut {
    const VALUES: WordOr<Number> = WordOr("auto", Number::Between(0.0, 1.0));
}

impl Accepts<Threshold> for Cut {
    fn parse(&self, literal: &OptionValue) -> Option<Threshold> {
        Self::VALUES.parse(literal).map(|cut| cut.map_or(Threshold::Auto, Threshold::Given))
    }

    fn expected(&self) -> String {
        Self::VALUES.expected()
    }

    fn literal(&self, value: &Threshold) -> Option<OptionValue> {
        Self::VALUES.literal(&match value {
            Threshold::Auto => None,
            Threshold::Given(cut) => Some(*cut),
        })
    }
}
