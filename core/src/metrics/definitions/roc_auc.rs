//! The area under the ROC curve, whatever the threshold.

use super::{Compute, Metric};

/// The definition of `roc_auc`.
pub const METRIC: Metric = Metric {
    name: "roc_auc",
    meaning: "area under the ROC curve, whatever the threshold (Hanley and McNeil 1982); of more than two classes, the mean over each against all others",
    compute: Compute::Weighed { two: |rows| rows.area(), many: Some(|rows| rows.area()) },
};
