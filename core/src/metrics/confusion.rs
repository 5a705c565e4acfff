//! The confusion matrix of two classes.

use serde::{Deserialize, Serialize};

use super::is_positive;

/// The four counts of a decision between a positive and a negative class.
///
/// Each metric is `None` where its denominator is zero (scikit-learn's `zero_division=nan`): a precision of 0 would
/// mean that rows were predicted positive and all were wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// True positives.
    pub tp: u64,
    /// False positives.
    pub fp: u64,
    /// True negatives.
    pub tn: u64,
    /// False negatives.
    pub fn_: u64,
}

impl Confusion {
    /// Counts the decisions "`score >= threshold` is positive".
    ///
    /// Both slices have one element per row; if their lengths differ, the rest of the longer one is ignored. NaN is
    /// below every threshold, so it counts as predicted negative.
    pub fn at_threshold(truth: &[bool], score: &[f64], threshold: f64) -> Self {
        let mut counts = Self::default();
        for (&truth, &score) in truth.iter().zip(score) {
            counts.add(truth, is_positive(score, threshold), 1);
        }
        counts
    }

    /// Counts `rows` more rows of class `truth` that were predicted as `predicted` (`true` is the positive class).
    pub fn add(&mut self, truth: bool, predicted: bool, rows: u64) {
        let cell = match (truth, predicted) {
            (true, true) => &mut self.tp,
            (false, true) => &mut self.fp,
            (false, false) => &mut self.tn,
            (true, false) => &mut self.fn_,
        };
        *cell = cell.saturating_add(rows);
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.tp.saturating_add(self.fp).saturating_add(self.tn).saturating_add(self.fn_)
    }

    /// The fraction of rows that were classified correctly; `None` without rows.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.tp as f64 + self.tn as f64;
        ratio(right, right + self.fp as f64 + self.fn_ as f64)
    }

    /// The fraction of predicted positives that are positive (positive predictive value). `None` without predicted
    /// positives.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.tp as f64, self.tp as f64 + self.fp as f64)
    }

    /// The fraction of positive rows that were predicted positive (sensitivity, true positive rate); `None` without
    /// positive rows.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.tp as f64, self.tp as f64 + self.fn_ as f64)
    }

    /// The fraction of negative rows that were predicted negative (true negative rate); `None` without negative rows.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.tn as f64, self.tn as f64 + self.fp as f64)
    }

    /// The harmonic mean of precision and recall, 2tp / (2tp + fp + fn).
    ///
    /// `None` only if no row is positive and no row was predicted positive. If only one of both holds, it is 0.
    pub fn f1(&self) -> Option<f64> {
        let twice = 2.0 * self.tp as f64;
        ratio(twice, twice + self.fp as f64 + self.fn_ as f64)
    }

    /// The mean of recall and specificity; `None` where either class has no rows.
    ///
    /// If a class is missing, scikit-learn returns the recall of the other class. This function returns `None`.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(f64::midpoint(self.recall()?, self.specificity()?))
    }
}

/// Returns `numerator / denominator`, or `None` if the denominator is zero.
pub(super) fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_equals_its_definition() {
        let counts = Confusion { tp: 6, fp: 2, tn: 10, fn_: 3 };
        assert_eq!(counts.rows(), 21);
        assert_eq!(counts.accuracy(), Some(16.0 / 21.0));
        assert_eq!(counts.precision(), Some(6.0 / 8.0));
        assert_eq!(counts.recall(), Some(6.0 / 9.0));
        assert_eq!(counts.specificity(), Some(10.0 / 12.0));
        assert_eq!(counts.f1(), Some(12.0 / 17.0));
        assert_eq!(counts.balanced_accuracy(), Some((6.0 / 9.0 + 10.0 / 12.0) / 2.0));
    }

    #[test]
    fn without_rows_there_is_no_metric() {
        let none = Confusion::at_threshold(&[], &[], 0.5);
        assert_eq!(none, Confusion::default());
        let values =
            [none.accuracy(), none.precision(), none.recall(), none.specificity(), none.f1(), none.balanced_accuracy()];
        assert_eq!(values, [None; 6]);
    }

    #[test]
    fn a_score_at_the_threshold_is_positive_and_nan_is_negative() {
        let counts = Confusion::at_threshold(&[true, false, true, false], &[0.5, 0.5, 0.49, f64::NAN], 0.5);
        assert_eq!(counts, Confusion { tp: 1, fp: 1, tn: 1, fn_: 1 });
    }

    #[test]
    fn balanced_accuracy_needs_both_classes() {
        let positives_only = Confusion { tp: 3, fn_: 1, ..Confusion::default() };
        assert_eq!(positives_only.recall(), Some(0.75));
        assert_eq!(positives_only.specificity(), None);
        assert_eq!(positives_only.balanced_accuracy(), None);
    }

    #[test]
    fn counts_at_the_end_of_their_range_do_not_overflow() {
        let mut counts = Confusion { tp: u64::MAX, fp: u64::MAX, tn: u64::MAX, fn_: u64::MAX };
        counts.add(true, true, 1);
        assert_eq!(counts.rows(), u64::MAX);
        assert_eq!(counts.accuracy(), Some(0.5));
        assert_eq!(counts.f1(), Some(0.5));
    }
}
