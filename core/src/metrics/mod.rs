//! Metrics of merit of classifiers, with bootstrap intervals.
//!
//! All functions are pure and do not panic on NaN, on a missing class or on empty input. A metric whose denominator is
//! zero is `None`, as with scikit-learn's `zero_division=nan`. The expected values in the tests are from scikit-learn
//! (`tests/reference/sklearn_metrics.py`).
//!
//! * [`roc_auc`], [`best_threshold`]: the area under the ROC curve, and the threshold with the best balanced accuracy
//! * [`smooth_threshold`]: a smoothed threshold, for a few hundred rows
//! * [`decide`]: the class of a row from its probabilities
//! * [`Confusion`], [`MultiConfusion`]: counts of decisions and their metrics
//! * [`log_loss`]: the cross-entropy
//! * [`definitions`]: the metrics of EVALUATE, one per file, listed in [`METRICS`]
//! * [`Judgement`]: rows prepared for all metrics; [`evaluate_binary`], [`evaluate_multi`]: a whole [`Report`], each
//!   metric with its 95 % [`Interval`]
//! * [`curve`], [`threshold_for`], [`average_precision`]: curves over all thresholds, and the threshold for a given
//!   recall
//! * [`reliability`], [`brier_score`], [`Calibration`]: calibration
//! * [`ClassPrior`]: the class frequencies of unlabelled rows, and the correction of probabilities for them
//! * [`compare_roc_auc`]: comparison of two models
//! * [`rank_correlation`], [`rank_biserial_interval`]: how far a score follows a number or a word
//! * [`bootstrap`]: intervals for any other statistic

mod bootstrap;
mod calibration;
mod compare;
mod confusion;
mod correlation;
mod curves;
mod decide;
pub mod definitions;
mod evaluate;
mod loss;
mod multi;
mod prior;
mod report;
mod roc;
mod threshold;

#[cfg(test)]
mod reference;

pub use bootstrap::{CONFIDENCE, Interval, bootstrap};
pub use calibration::{
    Calibration, RELIABILITY_BINS, ReliabilityBin, brier_score, expected_calibration_error, reliability,
};
pub use compare::{Comparison, compare_roc_auc};
pub use confusion::Confusion;
pub use correlation::{rank_biserial_interval, rank_correlation, rank_correlation_interval};
pub use curves::{CurvePoint, Wanted, average_precision, curve, threshold_for};
pub use decide::{decide, is_positive};
pub use definitions::{METRICS, Metric};
pub use evaluate::{Judgement, evaluate_binary, evaluate_multi};
pub use loss::{PROBABILITY_EPSILON, log_loss};
pub use multi::{MultiConfusion, roc_auc_ovr};
pub use prior::{ClassPrior, frequencies};
pub use report::Report;
pub use roc::{best_threshold, roc_auc, roc_auc_interval};
pub use threshold::{Decision, smooth_threshold};
