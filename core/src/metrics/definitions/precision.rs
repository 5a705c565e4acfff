//! The fraction of predicted positives that are positive.

use super::{Compute, Metric};

/// The definition of `precision`.
pub const METRIC: Metric = Metric {
    name: "precision",
    meaning: "fraction of predicted positives that are positive (positive predictive value); of more than two classes, the mean over them",
    compute: Compute::Weighed { two: |rows| rows.counts.precision(), many: Some(|rows| rows.counts.macro_precision()) },
};
