//! The mean of the recall of each class.

use super::{Compute, Metric};

/// The definition of `balanced_accuracy`.
pub const METRIC: Metric = Metric {
    name: "balanced_accuracy",
    meaning: "mean of the recall of each class",
    compute: Compute::Weighed {
        two: |rows| rows.counts.balanced_accuracy(),
        many: Some(|rows| rows.counts.macro_recall()),
    },
};
