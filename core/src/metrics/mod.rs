//! Metrics of merit of classifiers, with bootstrap intervals.
//!
//! Everything here is a pure function of slices in f64: no I/O, no clock, no panic on NaN, on an absent class or on
//! nothing at all. A metric whose denominator is zero is `None`, never 0 or 1: that is scikit-learn's
//! `zero_division=nan`, and the constants of the tests are scikit-learn's (`tests/reference/sklearn_metrics.py`).
//!
//! * [`roc_auc`], [`best_threshold`]: what a score is worth, and where to cut it
//! * [`smooth_threshold`]: where to cut a probability of which a few hundred rows are known
//! * [`decide`]: which class a row's probabilities decide on
//! * [`Confusion`], [`MultiConfusion`]: counts of decisions and the metrics made of them
//! * [`log_loss`]: how wrong the probabilities are
//! * [`figures`]: what EVALUATE answers with, a file per metric, listed in [`METRICS`]
//! * [`Judgement`]: rows prepared for all metrics; [`evaluate_binary`], [`evaluate_multi`]: a whole [`Report`], each metric
//!   with its 95 % [`Interval`]
//! * [`curve`], [`threshold_for`], [`average_precision`]: every threshold, and the one for a wanted recall
//! * [`reliability`], [`brier_score`], [`Calibration`]: whether probabilities mean what they say
//! * [`compare_roc_auc`]: whether one model is better than another
//! * [`bootstrap`]: the same interval for any other metric

mod bootstrap;
mod calibration;
mod compare;
mod confusion;
mod curves;
mod decide;
mod evaluate;
pub mod figures;
mod loss;
mod multi;
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
pub use curves::{CurvePoint, Wanted, average_precision, curve, threshold_for};
pub use decide::{decide, is_positive};
pub use evaluate::{Judgement, evaluate_binary, evaluate_multi};
pub use figures::{METRICS, Metric};
pub use loss::{PROBABILITY_EPSILON, log_loss};
pub use multi::{MultiConfusion, roc_auc_ovr};
pub use report::Report;
pub use roc::{best_threshold, roc_auc};
pub use threshold::{Decision, smooth_threshold};
