//! The expected calibration error over ten bins.

use super::{Compute, Metric};
use crate::metrics::{RELIABILITY_BINS, expected_calibration_error, reliability};

/// The definition of `calibration_error`.
pub const METRIC: Metric = Metric {
    name: "calibration_error",
    meaning: "expected calibration error over ten bins of equal width (Naeini et al. 2015)",
    compute: Compute::Scored(|truth, score| expected_calibration_error(&reliability(truth, score, RELIABILITY_BINS))),
};
