//! The fraction of negative rows that are predicted negative.

use super::{Compute, Metric};

/// The definition of `specificity`.
pub const METRIC: Metric = Metric {
    name: "specificity",
    meaning: "fraction of negative rows that are predicted negative; of more than two classes, the mean over them",
    compute: Compute::Weighed {
        two: |rows| rows.counts.specificity(),
        many: Some(|rows| rows.counts.macro_specificity()),
    },
};
