//! The fraction of rows that are classified correctly.

use super::{Compute, Metric};

/// The definition of `accuracy`.
pub const METRIC: Metric = Metric {
    name: "accuracy",
    meaning: "fraction of rows that are classified correctly",
    compute: Compute::Weighed { two: |rows| rows.counts.accuracy(), many: Some(|rows| rows.counts.accuracy()) },
};
