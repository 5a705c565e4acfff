//! The fraction of rows that are decided rightly.

use super::{Figure, Metric};

/// The definition of `accuracy`.
pub const METRIC: Metric = Metric {
    name: "accuracy",
    meaning: "share of rows that are decided rightly",
    figure: Figure::Weighed { two: |rows| rows.counts.accuracy(), many: Some(|rows| rows.counts.accuracy()) },
};
