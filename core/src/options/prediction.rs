//! Options of prediction.

use serde::{Deserialize, Serialize};

use super::OptionValue;
use super::accepts::{Accepts, Class, Number, Unset, Whole, WordOr};
use super::declare::options;

options! {
    /// How outputs become an answer, in validation and prediction alike.
    "Prediction" prediction: PredictionOptions {
        /// The class whose probability is thresholded.
        positive: Option<String> = None, Unset("last class", Class), before None, [Fixed];
        /// From which probability on an image is positive; 'auto' is the cut with the best balanced accuracy on the
        /// validation rows.
        threshold: Threshold = Threshold::Auto, Cut, [Ensemble];
        /// Views of a picture whose probabilities are averaged: itself, and turned, shifted and zoomed ones.
        tta: u32 = 1, Whole::Within(1, 64), before 1;
    }
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
