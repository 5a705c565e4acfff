//! The metrics of EVALUATE, one per file, listed in [`METRICS`].
//!
//! The columns of EVALUATE, the stored metrics of a model, the model card and the table in `docs/evaluation.md` are
//! made from this list.

pub mod accuracy;
pub mod average_precision;
pub mod balanced_accuracy;
pub mod brier_score;
pub mod calibration_error;
pub mod f1;
pub mod log_loss;
pub mod precision;
pub mod recall;
pub mod roc_auc;
pub mod specificity;

use super::confusion::ratio;
use super::multi::auc_ovr;
use super::roc::Ranking;
use super::{Confusion, MultiConfusion};

/// All metrics, in the order of the columns of EVALUATE.
pub const METRICS: &[&Metric] = &[
    &accuracy::METRIC,
    &balanced_accuracy::METRIC,
    &precision::METRIC,
    &recall::METRIC,
    &specificity::METRIC,
    &f1::METRIC,
    &roc_auc::METRIC,
    &log_loss::METRIC,
    &average_precision::METRIC,
    &brier_score::METRIC,
    &calibration_error::METRIC,
];

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its column in EVALUATE and its key in a stored report.
    pub name: &'static str,
    /// The description in the manual.
    pub meaning: &'static str,
    /// How it is computed.
    pub compute: Compute,
}

/// A metric of rows that may be weighed, whose labels are counted in a `C`.
pub type OfSample<C> = fn(&Sample<'_, C>) -> Option<f64>;

/// How a metric is computed, and so what there is of it. Each is `None` where it is not defined for the rows.
#[derive(Debug)]
pub enum Compute {
    /// From rows that may be weighed, so that it has a bootstrap interval. It is kept with a model.
    Weighed {
        /// For two classes.
        two: OfSample<Confusion>,
        /// For more classes. `None` if the metric is only for two classes.
        many: Option<OfSample<MultiConfusion>>,
    },
    /// From the truth and the score of each row. Only for two classes, and without an interval.
    Scored(fn(&[bool], &[f64]) -> Option<f64>),
}

impl Metric {
    /// Returns whether it has an interval and is stored with a model.
    #[must_use]
    pub const fn has_interval(&self) -> bool {
        matches!(self.compute, Compute::Weighed { .. })
    }

    /// Returns whether it is defined for more than two classes.
    #[must_use]
    pub const fn is_for_many_classes(&self) -> bool {
        matches!(self.compute, Compute::Weighed { many: Some(_), .. })
    }
}

/// Number of metrics with an interval.
pub(super) const INTERVALS: usize = {
    let (mut count, mut index) = (0, 0);
    while index < METRICS.len() {
        if METRICS[index].has_interval() {
            count += 1;
        }
        index += 1;
    }
    count
};

/// The metrics with an interval, in the order of [`METRICS`].
pub(super) fn with_interval() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().copied().filter(|metric| metric.has_interval())
}

/// One draw of the rows: how often each was drawn, and what all metrics share. The rows themselves draw each once.
#[derive(Debug)]
pub struct Sample<'a, C> {
    /// The decisions of the drawn rows.
    pub counts: C,
    /// How often each row was drawn.
    pub weights: &'a [u32],
    /// The rows by the score of the positive class or, of more than two, by that of each class; absent where a score is
    /// NaN.
    pub(super) rankings: Option<&'a [Ranking]>,
    /// The cross-entropy of each row; absent where a score is no probability.
    pub(super) losses: Option<&'a [f64]>,
}

impl<C> Sample<'_, C> {
    /// The area under the ROC curve, the mean over the classes where there are more than two.
    fn area(&self) -> Option<f64> {
        auc_ovr(self.rankings?, |row| self.weights.get(row).copied().map_or(0, u64::from))
    }

    /// The mean cross-entropy.
    fn loss(&self) -> Option<f64> {
        let (mut sum, mut weight_sum) = (0.0, 0.0);
        for (number, &weight) in self.losses?.iter().zip(self.weights) {
            sum += number * f64::from(weight);
            weight_sum += f64::from(weight);
        }
        ratio(sum, weight_sum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_a_unique_name_and_a_meaning() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert!(!metric.meaning.is_empty() && !metric.meaning.contains('|'), "{}", metric.name);
        }
        assert!(!names.contains("rows"), "a report has a field of this name");
    }
}
