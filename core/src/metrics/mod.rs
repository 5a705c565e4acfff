//! Figures of merit of classifiers, with bootstrap intervals.
//!
//! Everything here is a pure function of slices in f64: no I/O, no clock, no panic on NaN, on an absent class or on
//! nothing at all. A figure whose denominator is zero is `None`, never 0 or 1: that is scikit-learn's
//! `zero_division=nan`, and the constants of the tests are scikit-learn's (`tests/reference/sklearn_metrics.py`).
//!
//! * [`roc_auc`], [`best_threshold`]: what a score is worth, and where to cut it
//! * [`Confusion`], [`MultiConfusion`]: counts of decisions and the figures made of them
//! * [`log_loss`]: how wrong the probabilities are
//! * [`evaluate_binary`], [`evaluate_multi`]: a whole [`Report`], each figure with its 95 % [`Interval`]
//! * [`bootstrap`]: the same interval for any other figure

mod bootstrap;
mod confusion;
mod evaluate;
mod loss;
mod multi;
mod roc;

#[cfg(test)]
mod reference;

pub use bootstrap::{CONFIDENCE, Interval, bootstrap};
pub use confusion::Confusion;
pub use evaluate::{BinaryReport, Report, evaluate_binary, evaluate_multi};
pub use loss::{PROBABILITY_EPSILON, log_loss};
pub use multi::{MultiConfusion, roc_auc_ovr};
pub use roc::{best_threshold, roc_auc};
