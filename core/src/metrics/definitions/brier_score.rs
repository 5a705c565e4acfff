//! The mean squared distance of the positive class's probability to the truth.

use super::{Figure, Metric};
use crate::metrics::brier_score;

/// The definition of `brier_score`.
pub const METRIC: Metric = Metric {
    name: "brier_score",
    meaning: "mean squared distance of the positive class's probability to the truth (Brier 1950)",
    figure: Figure::Scored(brier_score),
};
