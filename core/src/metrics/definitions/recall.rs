//! The fraction of positive rows that are predicted positive.

use super::{Compute, Metric};

/// The definition of `recall`.
pub const METRIC: Metric = Metric {
    name: "recall",
    meaning: "fraction of positive rows that are predicted positive (sensitivity); of more than two classes, the mean over them",
    compute: Compute::Weighed { two: |rows| rows.counts.recall(), many: Some(|rows| rows.counts.macro_recall()) },
};
