//! All the figures of one evaluation, each with its interval.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Units, bootstrap_weights};
use super::confusion::ratio;
use super::loss::{PROBABILITY_EPSILON, row_loss};
use super::multi::{auc_ovr, rank_classes};
use super::roc::Ranking;
use super::{Confusion, Interval, MultiConfusion, decide, is_positive};

/// The figures of a classifier on a set of rows.
///
/// For more than two classes, precision, recall, specificity and f1 are macro averages, balanced accuracy is macro
/// recall, and the ROC AUC is the one-vs-rest average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many rows were judged; 0 where the slices did not fit together, and then no figure is there.
    pub rows: u64,
    /// The share of rows that were decided rightly.
    pub accuracy: Interval,
    /// The mean of the recall of each class.
    pub balanced_accuracy: Interval,
    /// The share of rows called positive that are.
    pub precision: Interval,
    /// The share of positive rows that were found (sensitivity).
    pub recall: Interval,
    /// The share of negative rows that were called negative.
    pub specificity: Interval,
    /// The harmonic mean of precision and recall.
    pub f1: Interval,
    /// The area under the ROC curve, whatever the threshold.
    pub roc_auc: Interval,
    /// The cross-entropy in nats; absent where a score is not in `[0, 1]`, such as a margin.
    pub log_loss: Interval,
}

/// The report of [`evaluate_binary`]; one shape serves two classes and many.
pub type BinaryReport = Report;

const FIGURES: usize = 8;

impl Report {
    fn new(rows: usize, figures: [Interval; FIGURES]) -> Self {
        let [accuracy, balanced_accuracy, precision, recall, specificity, f1, roc_auc, log_loss] = figures;
        let rows = rows as u64;
        Self { rows, accuracy, balanced_accuracy, precision, recall, specificity, f1, roc_auc, log_loss }
    }

    /// The figures by the names that tables give them.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, Interval); FIGURES] {
        [
            ("accuracy", self.accuracy),
            ("balanced_accuracy", self.balanced_accuracy),
            ("precision", self.precision),
            ("recall", self.recall),
            ("specificity", self.specificity),
            ("f1", self.f1),
            ("roc_auc", self.roc_auc),
            ("log_loss", self.log_loss),
        ]
    }
}

/// Judges a binary classifier: `truth` and `score` (of the positive class) have one element per row, and
/// `score >= threshold` is called positive.
///
/// The bounds are 95 % percentile bootstrap intervals over `resamples` draws from `seed`, of whole groups where
/// `groups` names each row's (the images of one patient are not independent), of rows otherwise. About 1000 resamples
/// are usual. The scores are sorted once; a resample costs time proportional to the rows.
///
/// A score that is NaN counts as called negative, and there is neither an AUC nor a loss.
pub fn evaluate_binary(
    truth: &[bool],
    score: &[f64],
    groups: Option<&[u64]>,
    threshold: f64,
    seed: u64,
    resamples: usize,
) -> BinaryReport {
    let rows = truth.len();
    if score.len() != rows || groups.is_some_and(|groups| groups.len() != rows) {
        return Report::default();
    }
    let judge = BinaryJudge::new(truth, score, threshold);
    let figures = bootstrap_weights(rows, &units(rows, groups), seed, resamples, |weights| judge.figures(weights));
    Report::new(rows, figures)
}

/// Judges a classifier of `classes` classes: `truth` is one class index per row, `probs` the probabilities, rows x
/// classes, row-major; the class with the highest one is the decision, the first of equals.
///
/// Bounds as in [`evaluate_binary`]; a resample costs time proportional to rows x classes. A NaN is never the highest,
/// and a row of nothing else is a wrong decision. A truth outside the classes is wrong whatever was decided.
pub fn evaluate_multi(
    truth: &[usize],
    probs: &[f32],
    classes: usize,
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Report {
    let rows = truth.len();
    let fits = classes > 0 && rows.checked_mul(classes) == Some(probs.len());
    if !fits || groups.is_some_and(|groups| groups.len() != rows) {
        return Report::default();
    }
    let judge = MultiJudge::new(truth, probs, classes);
    let figures = bootstrap_weights(rows, &units(rows, groups), seed, resamples, |weights| judge.figures(weights));
    Report::new(rows, figures)
}

fn units(rows: usize, groups: Option<&[u64]>) -> Units {
    groups.map_or(Units::Rows(rows), Units::groups)
}

/// What [`evaluate_binary`] needs of the rows, prepared once for all resamples.
struct BinaryJudge {
    /// Which of the four counts each row goes to: 2 if it is positive, plus 1 if it was called so.
    cells: Vec<u8>,
    ranking: Option<Ranking>,
    losses: Option<Vec<f64>>,
}

impl BinaryJudge {
    fn new(truth: &[bool], score: &[f64], threshold: f64) -> Self {
        let cell = |(&truth, &score): (&bool, &f64)| 2 * u8::from(truth) + u8::from(is_positive(score, threshold));
        let loss =
            |(&truth, &score): (&bool, &f64)| row_loss(if truth { score } else { 1.0 - score }, PROBABILITY_EPSILON);
        Self {
            cells: truth.iter().zip(score).map(cell).collect(),
            ranking: Ranking::new(score, |row| truth[row]),
            losses: truth.iter().zip(score).map(loss).collect(),
        }
    }

    fn figures(&self, weights: &[u32]) -> [Option<f64>; FIGURES] {
        let mut counts = [0_u64; 4];
        for (&cell, &weight) in self.cells.iter().zip(weights) {
            counts[usize::from(cell & 3)] += u64::from(weight);
        }
        let [tn, fp, fn_, tp] = counts;
        let counts = Confusion { tp, fp, tn, fn_ };
        [
            counts.accuracy(),
            counts.balanced_accuracy(),
            counts.precision(),
            counts.recall(),
            counts.specificity(),
            counts.f1(),
            self.ranking.as_ref().and_then(|ranking| ranking.auc(|row| u64::from(weights[row]))),
            self.losses.as_ref().and_then(|losses| weighted_mean(losses, weights)),
        ]
    }
}

/// What [`evaluate_multi`] needs of the rows, prepared once for all resamples.
struct MultiJudge {
    classes: usize,
    /// Truth and decision of each row.
    decisions: Vec<(usize, usize)>,
    rankings: Option<Vec<Ranking>>,
    losses: Option<Vec<f64>>,
}

impl MultiJudge {
    fn new(truth: &[usize], probs: &[f32], classes: usize) -> Self {
        let rows = || truth.iter().copied().zip(probs.chunks_exact(classes));
        let loss = |(truth, probs): (usize, &[f32])| row_loss(f64::from(*probs.get(truth)?), PROBABILITY_EPSILON);
        Self {
            classes,
            decisions: rows().map(|(truth, probs)| (truth, decide(probs, None).unwrap_or(classes))).collect(),
            rankings: rank_classes(truth, probs, classes),
            losses: rows().map(loss).collect(),
        }
    }

    fn figures(&self, weights: &[u32]) -> [Option<f64>; FIGURES] {
        let mut counts = MultiConfusion::new(self.classes);
        for (&(truth, decision), &weight) in self.decisions.iter().zip(weights) {
            counts.add(truth, decision, u64::from(weight));
        }
        [
            counts.accuracy(),
            counts.macro_recall(),
            counts.macro_precision(),
            counts.macro_recall(),
            counts.macro_specificity(),
            counts.macro_f1(),
            self.rankings.as_ref().and_then(|rankings| auc_ovr(rankings, |row| u64::from(weights[row]))),
            self.losses.as_ref().and_then(|losses| weighted_mean(losses, weights)),
        ]
    }
}

fn weighted_mean(numbers: &[f64], weights: &[u32]) -> Option<f64> {
    let (mut sum, mut weight_sum) = (0.0, 0.0);
    for (number, &weight) in numbers.iter().zip(weights) {
        sum += number * f64::from(weight);
        weight_sum += f64::from(weight);
    }
    ratio(sum, weight_sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{bootstrap, log_loss, roc_auc};

    /// Rows with ties whose scores say something about their class.
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
    fn weighing_rows_gives_what_sorting_every_resample_again_gives() {
        let (truth, score) = rows(150);
        let report = evaluate_binary(&truth, &score, None, 0.5, 11, 200);
        let units: Vec<Vec<usize>> = (0..150).map(|row| vec![row]).collect();
        let [accuracy, precision, f1, auc, loss] = bootstrap(&units, 11, 200, |drawn| {
            let truth: Vec<bool> = drawn.iter().map(|&row| truth[row]).collect();
            let score: Vec<f64> = drawn.iter().map(|&row| score[row]).collect();
            let counts = Confusion::at_threshold(&truth, &score, 0.5);
            let of_truth: Vec<f64> = truth.iter().zip(&score).map(|(&t, &s)| if t { s } else { 1.0 - s }).collect();
            let loss = log_loss(&of_truth, PROBABILITY_EPSILON);
            [counts.accuracy(), counts.precision(), counts.f1(), roc_auc(&truth, &score), loss]
        });
        assert_eq!(report.rows, 150);
        assert_eq!(report.accuracy, accuracy);
        assert_eq!(report.precision, precision);
        assert_eq!(report.f1, f1);
        assert_eq!(report.roc_auc, auc);
        // A sum in another order: equal to rounding, not to the bit.
        assert!((report.log_loss.high.unwrap() - loss.high.unwrap()).abs() < 1e-12);
        assert!((report.log_loss.value.unwrap() - loss.value.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn every_bound_lies_around_its_figure() {
        let (truth, score) = rows(400);
        let groups: Vec<u64> = (0..400).map(|row| row / 3).collect();
        let Report { rows: _, accuracy, balanced_accuracy, precision, recall, specificity, f1, roc_auc, log_loss } =
            evaluate_binary(&truth, &score, Some(&groups), 0.5, 42, 500);
        for interval in [accuracy, balanced_accuracy, precision, recall, specificity, f1, roc_auc, log_loss] {
            let (value, low, high) = (interval.value.unwrap(), interval.low.unwrap(), interval.high.unwrap());
            assert!(low < value && value < high && high - low < 0.2, "{interval:?}");
        }
    }

    #[test]
    fn copies_of_a_patients_rows_make_no_figure_surer() {
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
        for [alone, together] in [binary, many] {
            for ((name, one), (_, other)) in alone.figures().into_iter().zip(together.figures()) {
                assert_eq!(one.value, other.value, "{name}");
                // Twice: the root of four.
                let wider = width(other) / width(one);
                assert!((1.6..2.5).contains(&wider), "{name} is {wider} times as wide");
            }
        }
    }

    #[test]
    fn two_classes_as_many_agree_with_two_classes_as_one_score() {
        let (truth, score) = rows(120);
        // Back through f32, so that both see the same numbers; eighths keep 1 - p exact.
        let score: Vec<f64> = score.iter().map(|score| (score * 8.0).round() / 8.0).collect();
        let probs: Vec<f32> = score.iter().flat_map(|&score| [(1.0 - score) as f32, score as f32]).collect();
        let classes: Vec<usize> = truth.iter().map(|&truth| usize::from(truth)).collect();
        // The first of equals is class 0, so 0.5 must be called negative here too.
        let one = evaluate_binary(&truth, &score, None, 0.5_f64.next_up(), 3, 100);
        let many = evaluate_multi(&classes, &probs, 2, None, 3, 100);
        assert_eq!(one.accuracy, many.accuracy);
        assert_eq!(one.balanced_accuracy, many.recall);
        assert!((one.roc_auc.low.unwrap() - many.roc_auc.low.unwrap()).abs() < 1e-12);
        assert!((one.log_loss.high.unwrap() - many.log_loss.high.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn an_absent_class_takes_away_only_what_needs_it() {
        let report = evaluate_binary(&[true; 4], &[0.9, 0.8, 0.2, 0.7], None, 0.5, 1, 50);
        assert_eq!(report.recall.value, Some(0.75));
        assert!(report.recall.low.unwrap() < 0.75);
        assert_eq!(report.specificity, Interval::default());
        assert_eq!(report.roc_auc, Interval::default());
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
    fn nan_is_a_wrong_answer_and_ends_area_and_loss() {
        let binary = evaluate_binary(&[true, false], &[f64::NAN, 0.1], None, 0.5, 1, 50);
        assert_eq!(binary.accuracy.value, Some(0.5));
        assert_eq!((binary.roc_auc, binary.log_loss), (Interval::default(), Interval::default()));
        let multi = evaluate_multi(&[0, 1], &[f32::NAN, f32::NAN, f32::NAN, 0.2], 2, None, 1, 50);
        assert_eq!(multi.accuracy.value, Some(0.5));
        assert_eq!((multi.roc_auc, multi.log_loss), (Interval::default(), Interval::default()));
    }

    #[test]
    fn a_margin_has_an_area_but_no_loss() {
        let report = evaluate_binary(&[true, false, true, false], &[2.5, -1.0, 0.3, 0.1], None, 0.0, 1, 50);
        assert_eq!(report.roc_auc.value, Some(1.0));
        assert_eq!(report.log_loss, Interval::default());
    }

    #[test]
    fn a_report_survives_json() {
        let (truth, score) = rows(30);
        let report = evaluate_binary(&truth, &score, None, 0.5, 1, 20);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
