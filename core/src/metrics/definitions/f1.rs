//! The harmonic mean of precision and recall.

use super::{Compute, Metric};

/// The definition of `f1`.
pub const METRIC: Metric = Metric {
    name: "f1",
    meaning: "harmonic mean of precision and recall; of more than two classes, the mean over them",
    compute: Compute::Weighed { two: |rows| rows.counts.f1(), many: Some(|rows| rows.counts.macro_f1()) },
};
