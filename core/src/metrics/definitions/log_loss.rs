//! The cross-entropy; absent where a score is not in [0, 1], such as a margin.

use super::{Compute, Metric};

/// The definition of `log_loss`.
pub const METRIC: Metric = Metric {
    name: "log_loss",
    meaning: "mean cross-entropy in nats; EVALUATE's column loss",
    compute: Compute::Weighed { two: |rows| rows.loss(), many: Some(|rows| rows.loss()) },
};
