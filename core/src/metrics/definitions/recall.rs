//! The fraction of positive rows that are predicted positive.

use super::{Figure, Metric};

/// The definition of `recall`.
pub const METRIC: Metric = Metric {
    name: "recall",
    meaning: "fraction of positive rows that are predicted positive (sensitivity); of more than two classes, the mean over them",
    figure: Figure::Weighed { two: |rows| rows.counts.recall(), many: Some(|rows| rows.counts.macro_recall()) },
};
