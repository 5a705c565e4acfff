//! The area under the precision-recall curve, as a sum of steps.

use super::{Compute, Metric};
use crate::metrics::average_precision;

/// The definition of `average_precision`.
pub const METRIC: Metric = Metric {
    name: "average_precision",
    meaning: "area under the precision-recall curve, as a sum of steps",
    compute: Compute::Scored(average_precision),
};
