//! The fraction of rows that are classified correctly.

use super::{Figure, Metric};

/// The definition of `accuracy`.
pub const METRIC: Metric = Metric {
    name: "accuracy",
    meaning: "fraction of rows that are classified correctly",
    figure: Figure::Weighed { two: |rows| rows.counts.accuracy(), many: Some(|rows| rows.counts.accuracy()) },
};
