//! Computes all metrics of an evaluation, with intervals.

use super::bootstrap::{Units, bootstrap_weights};
use super::definitions::{Compute, INTERVALS, Metric, Sample, with_interval};
use super::loss::{PROBABILITY_EPSILON, row_loss};
use super::multi::rank_classes;
use super::roc::Ranking;
use super::{Confusion, MultiConfusion, Report, decide, is_positive};

/// Scored rows, prepared for all metrics and resamples.
#[derive(Debug)]
pub struct Judgement<'a> {
    rows: usize,
    decisions: Decisions<'a>,
    /// The rows by the score of the positive class, or of each class of many; absent where a score is NaN.
    rankings: Option<Vec<Ranking>>,
    /// The cross-entropy of each row; absent where a score is no probability.
    losses: Option<Vec<f64>>,
}

/// The decision of each row.
#[derive(Debug)]
enum Decisions<'a> {
    Two {
        truth: &'a [bool],
        score: &'a [f64],
        /// The index of the count of each row: 2 if it is positive, plus 1 if it was predicted positive.
        cells: Vec<u8>,
    },
    Many {
        classes: usize,
        /// Truth and decision of each row.
        decided: Vec<(usize, usize)>,
    },
}

impl<'a> Judgement<'a> {
    /// Rows of two classes: whether each is positive, and its score, which calls it positive from `threshold` on.
    /// `None` where the slices differ in length. A NaN score is predicted negative.
    #[must_use]
    pub fn binary(truth: &'a [bool], score: &'a [f64], threshold: f64) -> Option<Self> {
        if truth.len() != score.len() {
            return None;
        }
        let rows = || truth.iter().copied().zip(score.iter().copied());
        let cell = |(truth, score)| 2 * u8::from(truth) + u8::from(is_positive(score, threshold));
        let loss = |(truth, score)| row_loss(if truth { score } else { 1.0 - score }, PROBABILITY_EPSILON);
        Some(Self {
            rows: truth.len(),
            decisions: Decisions::Two { truth, score, cells: rows().map(cell).collect() },
            rankings: Ranking::new(score, |row| truth[row]).map(|ranking| vec![ranking]),
            losses: rows().map(loss).collect(),
        })
    }

    /// Rows of `classes` classes: one class index per row, and the probabilities, rows x classes, row-major, of which
    /// [`decide`] chooses. `None` where the shapes disagree. A row without a decision, or whose truth is outside the
    /// classes, is wrong.
    #[must_use]
    pub fn multi(truth: &[usize], probs: &[f32], classes: usize) -> Option<Self> {
        if classes == 0 || truth.len().checked_mul(classes) != Some(probs.len()) {
            return None;
        }
        let rows = || truth.iter().copied().zip(probs.chunks_exact(classes));
        let loss = |(truth, probs): (usize, &[f32])| row_loss(f64::from(*probs.get(truth)?), PROBABILITY_EPSILON);
        let decided = rows().map(|(truth, probs)| (truth, decide(probs, None).unwrap_or(classes))).collect();
        Some(Self {
            rows: truth.len(),
            decisions: Decisions::Many { classes, decided },
            rankings: rank_classes(truth, probs, classes),
            losses: rows().map(loss).collect(),
        })
    }

    /// The metrics that have an interval.
    ///
    /// The bounds are 95 % percentile bootstrap intervals over `resamples` draws from `seed`, of whole groups where
    /// `groups` names each row's (the images of one patient are not independent), of rows otherwise. Usually there are
    /// about 1000 resamples. The scores are sorted once; a resample costs time proportional to rows x classes. Nothing
    /// where `groups` has not one element per row.
    #[must_use]
    pub fn report(&self, groups: Option<&[u64]>, seed: u64, resamples: usize) -> Report {
        if groups.is_some_and(|groups| groups.len() != self.rows) {
            return Report::default();
        }
        let units = groups.map_or(Units::Rows(self.rows), Units::groups);
        Report::new(self.rows, bootstrap_weights(self.rows, &units, seed, resamples, |weights| self.intervals(weights)))
    }

    /// The metric of the rows as they are, if it has no interval; those that have one are in the [`Self::report`].
    /// `None` where it is not defined for them.
    #[must_use]
    pub fn scored(&self, metric: &Metric) -> Option<f64> {
        match (&metric.compute, &self.decisions) {
            (Compute::Scored(compute), Decisions::Two { truth, score, .. }) => compute(truth, score),
            _ => None,
        }
    }

    /// The metrics that have an interval, of one draw.
    fn intervals(&self, weights: &[u32]) -> [Option<f64>; INTERVALS] {
        let (rankings, losses) = (self.rankings.as_deref(), self.losses.as_deref());
        match &self.decisions {
            Decisions::Two { cells, .. } => {
                let sample = Sample { counts: count_two(cells, weights), weights, rankings, losses };
                each(|metric| match metric.compute {
                    Compute::Weighed { two, .. } => two(&sample),
                    Compute::Scored(_) => None,
                })
            }
            Decisions::Many { classes, decided } => {
                let sample = Sample { counts: count_many(*classes, decided, weights), weights, rankings, losses };
                each(|metric| match metric.compute {
                    Compute::Weighed { many: Some(many), .. } => many(&sample),
                    Compute::Weighed { many: None, .. } | Compute::Scored(_) => None,
                })
            }
        }
    }
}

/// One value of each metric that has an interval.
fn each(value: impl Fn(&Metric) -> Option<f64>) -> [Option<f64>; INTERVALS] {
    let mut metrics = with_interval();
    std::array::from_fn(|_| metrics.next().and_then(&value))
}

fn count_two(cells: &[u8], weights: &[u32]) -> Confusion {
    let mut counts = [0_u64; 4];
    for (&cell, &weight) in cells.iter().zip(weights) {
        counts[usize::from(cell & 3)] += u64::from(weight);
    }
    let [tn, fp, fn_, tp] = counts;
    Confusion { tp, fp, tn, fn_ }
}

fn count_many(classes: usize, decided: &[(usize, usize)], weights: &[u32]) -> MultiConfusion {
    let mut counts = MultiConfusion::new(classes);
    for (&(truth, decision), &weight) in decided.iter().zip(weights) {
        counts.add(truth, decision, u64::from(weight));
    }
    counts
}

/// The metrics of a binary classifier that have an interval: [`Judgement::binary`] and [`Judgement::report`]. Nothing
/// where the slices do not fit together.
#[must_use]
pub fn evaluate_binary(
    truth: &[bool],
    score: &[f64],
    groups: Option<&[u64]>,
    threshold: f64,
    seed: u64,
    resamples: usize,
) -> Report {
    let judgement = Judgement::binary(truth, score, threshold);
    judgement.map_or_else(Report::default, |judgement| judgement.report(groups, seed, resamples))
}

/// The metrics of a classifier of `classes` classes that have an interval: [`Judgement::multi`] and
/// [`Judgement::report`]. Nothing where the shapes do not fit together.
#[must_use]
pub fn evaluate_multi(
    truth: &[usize],
    probs: &[f32],
    classes: usize,
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Report {
    let judgement = Judgement::multi(truth, probs, classes);
    judgement.map_or_else(Report::default, |judgement| judgement.report(groups, seed, resamples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::definitions::{
        METRICS, accuracy, balanced_accuracy, f1, log_loss, precision, recall, roc_auc, specificity,
    };
    use crate::metrics::{Interval, average_precision, bootstrap};

    /// Rows with tied scores that correlate with the class.
    fn rows(count: usize) -> (Vec<bool>, Vec<f64>) {
        let mut state = 12_345_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 1000
        };
        let truth: Vec<bool> = (0..count).map(|_| next() < 740).collect();
        let score = truth.iter().map(|&truth| (next() / 2 + if truth { 400 } else { 100 }) as f64 / 1000.0).collect();
        (truth, score)
    }

    #[test]
    fn weighted_rows_give_the_same_metrics_as_sorted_resamples() {
        let (truth, score) = rows(150);
        let report = evaluate_binary(&truth, &score, None, 0.5, 11, 200);
        let units: Vec<Vec<usize>> = (0..150).map(|row| vec![row]).collect();
        let [accuracy, precision, f1, auc, loss] = bootstrap(&units, 11, 200, |drawn| {
            let truth: Vec<bool> = drawn.iter().map(|&row| truth[row]).collect();
            let score: Vec<f64> = drawn.iter().map(|&row| score[row]).collect();
            let counts = Confusion::at_threshold(&truth, &score, 0.5);
            let of_truth: Vec<f64> = truth.iter().zip(&score).map(|(&t, &s)| if t { s } else { 1.0 - s }).collect();
            let loss = crate::metrics::log_loss(&of_truth, PROBABILITY_EPSILON);
            [counts.accuracy(), counts.precision(), counts.f1(), crate::metrics::roc_auc(&truth, &score), loss]
        });
        assert_eq!(report.rows, 150);
        assert_eq!(report.metric(&accuracy::METRIC), accuracy);
        assert_eq!(report.metric(&precision::METRIC), precision);
        assert_eq!(report.metric(&f1::METRIC), f1);
        assert_eq!(report.metric(&roc_auc::METRIC), auc);
        // The sum is in another order, so it is equal only to within rounding.
        assert!((report.metric(&log_loss::METRIC).high.unwrap() - loss.high.unwrap()).abs() < 1e-12);
        assert!((report.metric(&log_loss::METRIC).value.unwrap() - loss.value.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn every_interval_contains_its_metric() {
        let (truth, score) = rows(400);
        let groups: Vec<u64> = (0..400).map(|row| row / 3).collect();
        let report = evaluate_binary(&truth, &score, Some(&groups), 0.5, 42, 500);
        assert!(report.metrics().count() >= 8);
        for (_, interval) in report.metrics() {
            let (value, low, high) = (interval.value.unwrap(), interval.low.unwrap(), interval.high.unwrap());
            assert!(low < value && value < high && high - low < 0.2, "{interval:?}");
        }
    }

    #[test]
    fn copies_of_rows_in_a_group_do_not_narrow_the_interval_of_a_metric() {
        let (truth, score) = rows(100);
        let truth: Vec<bool> = truth.iter().flat_map(|&truth| [truth; 4]).collect();
        let score: Vec<f64> = score.iter().flat_map(|&score| [score; 4]).collect();
        let patients: Vec<u64> = (0..400).map(|row| row / 4).collect();
        let classes: Vec<usize> = truth.iter().map(|&truth| usize::from(truth)).collect();
        let probs: Vec<f32> = score.iter().flat_map(|&score| [(1.0 - score) as f32, score as f32]).collect();
        let groupings = [None, Some(patients.as_slice())];
        let binary = groupings.map(|groups| evaluate_binary(&truth, &score, groups, 0.5, 42, 1000));
        let many = groupings.map(|groups| evaluate_multi(&classes, &probs, 2, groups, 42, 1000));
        let width = |interval: Interval| interval.high.unwrap() - interval.low.unwrap();
        for (is_many, [alone, together]) in [(false, binary), (true, many)] {
            for ((metric, one), (_, other)) in alone.metrics().zip(together.metrics()) {
                if is_many && !metric.is_for_many_classes() {
                    continue;
                }
                let name = metric.name;
                assert_eq!(one.value, other.value, "{name}");
                // Twice: the root of four.
                let wider = width(other) / width(one);
                assert!((1.6..2.5).contains(&wider), "{name} is {wider} times as wide");
            }
        }
    }

    #[test]
    fn two_classes_give_the_same_metrics_as_one_score() {
        let (truth, score) = rows(120);
        // Back through f32, so that both see the same numbers; eighths keep 1 - p exact.
        let score: Vec<f64> = score.iter().map(|score| (score * 8.0).round() / 8.0).collect();
        let probs: Vec<f32> = score.iter().flat_map(|&score| [(1.0 - score) as f32, score as f32]).collect();
        let classes: Vec<usize> = truth.iter().map(|&truth| usize::from(truth)).collect();
        // The first of equals is class 0, so 0.5 must be called negative here too.
        let one = evaluate_binary(&truth, &score, None, 0.5_f64.next_up(), 3, 100);
        let many = evaluate_multi(&classes, &probs, 2, None, 3, 100);
        assert_eq!(one.metric(&accuracy::METRIC), many.metric(&accuracy::METRIC));
        assert_eq!(one.metric(&balanced_accuracy::METRIC), many.metric(&recall::METRIC));
        assert!((one.metric(&roc_auc::METRIC).low.unwrap() - many.metric(&roc_auc::METRIC).low.unwrap()).abs() < 1e-12);
        assert!(
            (one.metric(&log_loss::METRIC).high.unwrap() - many.metric(&log_loss::METRIC).high.unwrap()).abs() < 1e-12
        );
    }

    #[test]
    fn a_missing_class_leaves_only_its_own_metrics_undefined() {
        let report = evaluate_binary(&[true; 4], &[0.9, 0.8, 0.2, 0.7], None, 0.5, 1, 50);
        assert_eq!(report.metric(&recall::METRIC).value, Some(0.75));
        assert!(report.metric(&recall::METRIC).low.unwrap() < 0.75);
        assert_eq!(report.metric(&specificity::METRIC), Interval::default());
        assert_eq!(report.metric(&roc_auc::METRIC), Interval::default());
    }

    #[test]
    fn empty_and_misfitting_input_gives_an_empty_report() {
        assert_eq!(evaluate_binary(&[], &[], None, 0.5, 1, 50), Report::default());
        assert_eq!(evaluate_binary(&[true], &[], None, 0.5, 1, 50), Report::default());
        assert_eq!(evaluate_binary(&[true, false], &[0.1, 0.2], Some(&[1]), 0.5, 1, 50), Report::default());
        assert_eq!(evaluate_multi(&[], &[], 3, Some(&[]), 1, 50), Report::default());
        assert_eq!(evaluate_multi(&[0], &[0.5], 0, None, 1, 50), Report::default());
        assert_eq!(evaluate_multi(&[0, 1], &[0.5; 5], 3, None, 1, 50), Report::default());
        assert_eq!(evaluate_multi(&[0, 1], &[0.5; 4], 2, Some(&[7]), 1, 50), Report::default());
    }

    #[test]
    fn nan_counts_as_wrong_and_leaves_area_and_loss_undefined() {
        let binary = evaluate_binary(&[true, false], &[f64::NAN, 0.1], None, 0.5, 1, 50);
        assert_eq!(binary.metric(&accuracy::METRIC).value, Some(0.5));
        assert_eq!(
            (binary.metric(&roc_auc::METRIC), binary.metric(&log_loss::METRIC)),
            (Interval::default(), Interval::default())
        );
        let multi = evaluate_multi(&[0, 1], &[f32::NAN, f32::NAN, f32::NAN, 0.2], 2, None, 1, 50);
        assert_eq!(multi.metric(&accuracy::METRIC).value, Some(0.5));
        assert_eq!(
            (multi.metric(&roc_auc::METRIC), multi.metric(&log_loss::METRIC)),
            (Interval::default(), Interval::default())
        );
    }

    #[test]
    fn a_margin_has_an_area_but_no_loss() {
        let report = evaluate_binary(&[true, false, true, false], &[2.5, -1.0, 0.3, 0.1], None, 0.0, 1, 50);
        assert_eq!(report.metric(&roc_auc::METRIC).value, Some(1.0));
        assert_eq!(report.metric(&log_loss::METRIC), Interval::default());
    }

    #[test]
    fn a_metric_has_a_value_for_its_number_of_classes() {
        let (truth, score) = rows(60);
        let probs: Vec<f32> = score.iter().flat_map(|&score| [(1.0 - score) as f32, score as f32]).collect();
        let classes: Vec<usize> = truth.iter().map(|&truth| usize::from(truth)).collect();
        let two = Judgement::binary(&truth, &score, 0.5).unwrap();
        let many = Judgement::multi(&classes, &probs, 2).unwrap();
        let value = |judgement: &Judgement<'_>, metric: &Metric| {
            judgement.report(None, 1, 0).metric(metric).value.or(judgement.scored(metric))
        };
        for metric in METRICS {
            assert!(value(&two, metric).is_some(), "{}", metric.name);
            assert_eq!(value(&many, metric).is_some(), metric.is_for_many_classes(), "{}", metric.name);
        }
        let average = METRICS.iter().find(|metric| metric.name == "average_precision").unwrap();
        assert_eq!(two.scored(average), average_precision(&truth, &score));
        assert_eq!(two.scored(&accuracy::METRIC), None, "it is in the report");
    }
}
