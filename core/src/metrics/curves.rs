//! ROC and precision-recall curves, and the threshold for a given sensitivity or specificity.

use super::Confusion;
use super::roc::Ranking;

/// The counts at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// The counts.
    pub counts: Confusion,
}

/// A point for every score that occurs, the highest first; before them one whose threshold is infinite, at which no row
/// is positive. `None` where a class has no rows, a score is NaN, or the slices differ in length.
///
/// `counts.recall()` over `1 - counts.specificity()` is the ROC curve, `counts.precision()` over `counts.recall()` the
/// precision-recall curve.
pub fn curve(truth: &[bool], score: &[f64]) -> Option<Vec<CurvePoint>> {
    if truth.len() != score.len() {
        return None;
    }
    let ranking = Ranking::new(score, |row| truth[row])?;
    let positives = truth.iter().filter(|truth| **truth).count() as u64;
    let negatives = truth.len() as u64 - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut tp, mut fp) = (0, 0);
    let point = |threshold, tp, fp| CurvePoint {
        threshold,
        counts: Confusion { tp, fp, tn: negatives - fp, fn_: positives - tp },
    };
    let mut points = vec![point(f64::INFINITY, 0, 0)];
    for (row, is_lowest_of_its_score) in ranking.descending() {
        if truth[row] {
            tp += 1;
        } else {
            fp += 1;
        }
        if is_lowest_of_its_score {
            points.push(point(score[row], tp, fp));
        }
    }
    Some(points)
}

/// The average precision: the sum over the thresholds of precision times the recall that it adds (scikit-learn's).
pub fn average_precision(truth: &[bool], score: &[f64]) -> Option<f64> {
    let points = curve(truth, score)?;
    let gain = |pair: &[CurvePoint]| {
        let [before, after] = pair else { return None };
        Some(after.counts.precision()? * (after.counts.recall()? - before.counts.recall()?))
    };
    points.windows(2).map(gain).sum()
}

/// The metric that a threshold must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Sensitivity (recall).
    Sensitivity,
    /// Specificity.
    Specificity,
}

/// Returns the threshold that reaches at least `least` of the target metric and loses as little as possible of the
/// other: the highest one for sensitivity, the lowest one for specificity. `None` if no threshold reaches it.
pub fn threshold_for(truth: &[bool], score: &[f64], wanted: Wanted, least: f64) -> Option<f64> {
    let points = curve(truth, score)?;
    let reaches = |value: Option<f64>| value.is_some_and(|value| value >= least);
    let mut thresholds = points.iter().filter(|point| match wanted {
        Wanted::Sensitivity => reaches(point.counts.recall()),
        Wanted::Specificity => reaches(point.counts.specificity()),
    });
    let point = match wanted {
        Wanted::Sensitivity => thresholds.next(),
        Wanted::Specificity => thresholds.next_back(),
    };
    point.map(|point| point.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_one_point_per_score_from_no_positives_to_all() {
        let points = curve(&[false, true, false, true], &[0.1, 0.4, 0.4, 0.8]).unwrap();
        let found: Vec<(f64, u64, u64)> = points.iter().map(|p| (p.threshold, p.counts.tp, p.counts.fp)).collect();
        assert_eq!(found, [(f64::INFINITY, 0, 0), (0.8, 1, 0), (0.4, 2, 1), (0.1, 2, 2)]);
        assert!(points.iter().all(|p| (p.counts.tp + p.counts.fn_, p.counts.fp + p.counts.tn) == (2, 2)));
        assert_eq!(curve(&[true, true], &[0.1, 0.2]), None);
        assert_eq!(curve(&[true, false], &[f64::NAN, 0.2]), None);
    }

    #[test]
    fn the_threshold_for_a_target_loses_the_least_of_the_other_metric() {
        let (truth, score) = ([false, false, true, false, true, true], [0.1, 0.3, 0.4, 0.5, 0.7, 0.9]);
        let at = |wanted, least| threshold_for(&truth, &score, wanted, least);
        assert_eq!(at(Wanted::Sensitivity, 1.0), Some(0.4));
        assert_eq!(at(Wanted::Sensitivity, 0.6), Some(0.7));
        assert_eq!(at(Wanted::Specificity, 1.0), Some(0.7));
        assert_eq!(at(Wanted::Specificity, 0.5), Some(0.4));
        assert_eq!(at(Wanted::Sensitivity, 1.1), None);
    }
}
