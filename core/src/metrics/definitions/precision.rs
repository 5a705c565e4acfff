//! The fraction of predicted positives that are positive.

use super::{Figure, Metric};

/// The definition of `precision`.
pub const METRIC: Metric = Metric {
    name: "precision",
    meaning: "fraction of predicted positives that are positive (positive predictive value); of more than two classes, the mean over them",
    figure: Figure::Weighed { two: |rows| rows.counts.precision(), many: Some(|rows| rows.counts.macro_precision()) },
};
