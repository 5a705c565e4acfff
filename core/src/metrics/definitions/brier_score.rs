//! The mean squared difference between the probability of the positive class and the truth.

use super::{Compute, Metric};
use crate::metrics::brier_score;

/// The definition of `brier_score`.
pub const METRIC: Metric = Metric {
    name: "brier_score",
    meaning: "mean squared difference between the probability of the positive class and the truth (Brier 1950)",
    compute: Compute::Scored(brier_score),
};
