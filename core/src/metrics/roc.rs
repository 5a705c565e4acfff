//! The area under the ROC curve and the threshold with the best balanced accuracy.

use std::cmp::Ordering;

use super::bootstrap::{Interval, Units, bootstrap_weights};

/// Rows in ascending order of score, with the ends of ties. They are sorted once and can be weighted many times.
#[derive(Debug)]
pub(super) struct Ranking {
    /// Row numbers, lowest score first.
    order: Vec<usize>,
    /// Whether the row at each position is positive.
    positive: Vec<bool>,
    /// Whether the position is the last one with its score.
    tie_ends: Vec<bool>,
}

impl Ranking {
    /// Ranks `scores`, one per row; `None` if one of them is NaN.
    pub(super) fn new(scores: &[f64], positive: impl Fn(usize) -> bool) -> Option<Self> {
        if scores.iter().any(|score| score.is_nan()) {
            return None;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        // Compared with `!=`, so that -0.0 and 0.0 are a tie, unlike with total_cmp.
        let ends = order.windows(2).map(|pair| scores[pair[0]] != scores[pair[1]]);
        let tie_ends = ends.chain((!order.is_empty()).then_some(true)).collect();
        let positive = order.iter().map(|&row| positive(row)).collect();
        Some(Self { order, positive, tie_ends })
    }

    /// The rows, highest score first, each with whether it is the last of its score.
    pub(super) fn descending(&self) -> impl Iterator<Item = (usize, bool)> {
        let is_last = |place: usize| place.checked_sub(1).is_none_or(|below| self.tie_ends[below]);
        self.order.iter().enumerate().rev().map(move |(place, row)| (*row, is_last(place)))
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The rank of each row when row r counts `weights[r]` times, minus the mean rank, times two. Ties share the mean of
    /// their ranks. There must be a weight for each row.
    pub(super) fn centred_ranks(&self, weights: &[u32]) -> Vec<i64> {
        let weight = |rows: &[usize]| rows.iter().map(|row| i64::from(weights[*row])).sum::<i64>();
        let all = weight(&self.order);
        let mut ranks = vec![0; weights.len()];
        let (mut below, mut start) = (0, 0);
        let ends = self.tie_ends.iter().enumerate().filter(|(_, is_end)| **is_end).map(|(place, _)| place + 1);
        for end in ends {
            let tied = &self.order[start..end];
            let here = weight(tied);
            tied.iter().for_each(|row| ranks[*row] = 2 * below + here - all);
            below += here;
            start = end;
        }
        ranks
    }

    /// The area under the ROC curve when row r counts `weight(r)` times; `None` where a class weighs nothing.
    ///
    /// The Mann-Whitney statistic: the fraction of (positive, negative) pairs in which the positive has the higher
    /// score, where a tie counts half. Summed in integers, so the order of rows inside a tie cannot matter.
    pub(super) fn auc(&self, weight: impl Fn(usize) -> u64) -> Option<f64> {
        let (mut positives, mut negatives) = (0_u64, 0_u64);
        let (mut tied_positives, mut tied_negatives) = (0_u64, 0_u64);
        let mut twice_won = 0_u128;
        for ((&row, &positive), &tie_ends) in self.order.iter().zip(&self.positive).zip(&self.tie_ends) {
            let tied = if positive { &mut tied_positives } else { &mut tied_negatives };
            *tied += weight(row);
            if tie_ends {
                twice_won += u128::from(tied_positives) * u128::from(2 * negatives + tied_negatives);
                positives += std::mem::take(&mut tied_positives);
                negatives += std::mem::take(&mut tied_negatives);
            }
        }
        let pairs = u128::from(positives) * u128::from(negatives);
        (pairs > 0).then(|| twice_won as f64 / (2 * pairs) as f64)
    }
}

/// The area under the ROC curve of `score` for the rows where `truth` holds.
///
/// This is the probability that a positive row drawn at random has a higher score than a negative one, where a tie
/// counts half (Mann and Whitney 1947; Hanley and McNeil 1982). Both slices have one element per row; the scores may be
/// on any scale. `None` where a class has no rows, where a score is NaN, and where the slices differ in length.
pub fn roc_auc(truth: &[bool], score: &[f64]) -> Option<f64> {
    if truth.len() != score.len() {
        return None;
    }
    Ranking::new(score, |row| truth[row])?.auc(|_| 1)
}

/// [`roc_auc`] with its bootstrap interval, in which the rows of a group are drawn together.
///
/// `groups` has a number per row. Without it each row is drawn on its own.
pub fn roc_auc_interval(
    truth: &[bool],
    score: &[f64],
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Interval {
    if truth.len() != score.len() {
        return Interval::default();
    }
    let Some(ranking) = Ranking::new(score, |row| truth[row]) else { return Interval::default() };
    let units = groups.map_or(Units::Rows(truth.len()), Units::groups);
    let [interval] =
        bootstrap_weights(truth.len(), &units, seed, resamples, |weights| [ranking.auc(|row| u64::from(weights[row]))]);
    interval
}

/// The cut that maximises balanced accuracy (Youden's J = recall + specificity - 1) for "`score >= cut` is positive".
///
/// The cut lies midway between the two neighbouring scores. Where several neighbouring cuts are equally good they form
/// a run, and the answer is the middle of that run; of several runs, the widest on the scale of the score, because it
/// stands farthest from the scores on which the decision turns; of several equally wide ones, the lowest, because it
/// misses fewer positives. Counts are compared as integers, so the answer does not depend on the order of the rows.
///
/// Returns `None` if no cut is better than chance, if a class has no rows, if a score is NaN, or if the slices differ
/// in length. Callers then keep their default.
pub fn best_threshold(truth: &[bool], score: &[f64]) -> Option<f64> {
    if truth.len() != score.len() {
        return None;
    }
    let ranking = Ranking::new(score, |row| truth[row])?;
    let positives = truth.iter().filter(|&&positive| positive).count() as u128;
    let negatives = truth.len() as u128 - positives;

    // J, moved onto the integers: recall + specificity, times the rows of both classes. Chance is one whole product.
    let mut best = positives * negatives;
    let mut runs: Vec<(f64, f64)> = Vec::new();
    let mut in_run = false;
    let (mut missed, mut cleared) = (0_u128, 0_u128);
    for (place, pair) in ranking.order.windows(2).enumerate() {
        if ranking.positive[place] {
            missed += 1;
        } else {
            cleared += 1;
        }
        if !ranking.tie_ends[place] {
            continue;
        }
        let (below, above) = (score[pair[0]], score[pair[1]]);
        let merit = (positives - missed) * negatives + cleared * positives;
        match (merit.cmp(&best), runs.last_mut()) {
            (Ordering::Greater, _) => {
                best = merit;
                runs.clear();
                runs.push((below, above));
                in_run = true;
            }
            (Ordering::Equal, Some(run)) if in_run => run.1 = above,
            (Ordering::Equal, Some(_)) => {
                runs.push((below, above));
                in_run = true;
            }
            // As good as chance, before anything better was met.
            (Ordering::Equal, None) => {}
            (Ordering::Less, _) => in_run = false,
        }
    }
    let widest = runs.into_iter().reduce(|widest, run| if run.1 - run.0 > widest.1 - widest.0 { run } else { widest });
    widest.map(|(below, above)| between(below, above))
}

/// The middle of two scores, or the upper one where rounding or an infinity would make the middle the lower one: a
/// cut at the lower score would call it positive.
fn between(below: f64, above: f64) -> f64 {
    let middle = f64::midpoint(below, above);
    if middle > below && middle <= above { middle } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Confusion;

    fn balanced(truth: &[bool], score: &[f64], threshold: f64) -> f64 {
        Confusion::at_threshold(truth, score, threshold).balanced_accuracy().unwrap()
    }

    #[test]
    fn the_area_of_a_perfect_score_is_one_of_its_reverse_zero_and_of_a_constant_a_half() {
        let truth = [false, false, true, true];
        assert_eq!(roc_auc(&truth, &[0.1, 0.2, 0.3, 0.4]), Some(1.0));
        assert_eq!(roc_auc(&truth, &[0.4, 0.3, 0.2, 0.1]), Some(0.0));
        assert_eq!(roc_auc(&truth, &[7.0; 4]), Some(0.5));
        assert_eq!(roc_auc(&[false, true], &[-0.0, 0.0]), Some(0.5));
        assert_eq!(roc_auc(&truth, &[f64::NEG_INFINITY, 0.0, 0.0, f64::INFINITY]), Some(0.875));
    }

    #[test]
    fn without_both_classes_or_with_nan_there_is_no_area_and_no_threshold() {
        let cases: [(&[bool], &[f64]); 5] = [
            (&[], &[]),
            (&[true, true], &[0.1, 0.9]),
            (&[false, false], &[0.1, 0.9]),
            (&[true, false, true], &[0.1, f64::NAN, 0.9]),
            (&[true, false], &[0.1]),
        ];
        for (truth, score) in cases {
            assert_eq!(roc_auc(truth, score), None, "{truth:?} {score:?}");
            assert_eq!(best_threshold(truth, score), None, "{truth:?} {score:?}");
        }
    }

    #[test]
    fn a_weight_equals_as_many_copies_of_the_row() {
        let truth = [true, false, true, false, true, false];
        let score = [0.4, 0.4, 0.9, 0.1, 0.3, 0.7];
        let weights = [3, 1, 0, 2, 1, 4];
        let (mut copied_truth, mut copied_score) = (Vec::new(), Vec::new());
        for row in 0..truth.len() {
            copied_truth.extend(std::iter::repeat_n(truth[row], weights[row]));
            copied_score.extend(std::iter::repeat_n(score[row], weights[row]));
        }
        let weighted = Ranking::new(&score, |row| truth[row]).unwrap().auc(|row| weights[row] as u64);
        assert_eq!(weighted, roc_auc(&copied_truth, &copied_score));
    }

    #[test]
    fn the_cut_is_midway_between_its_neighbours() {
        assert_eq!(best_threshold(&[false, false, true, true], &[0.25, 0.5, 0.75, 1.0]), Some(0.625));
    }

    #[test]
    fn the_cut_is_the_best_of_all_cuts_on_random_scores() {
        let mut state = 9_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for _ in 0..200 {
            // Twelve values for thirty rows, so that ties are common.
            let score: Vec<f64> = (0..30).map(|_| (next() % 12) as f64 / 16.0).collect();
            let truth: Vec<bool> = score.iter().map(|&score| next() % 12 < (score * 14.0) as u64 + 1).collect();
            let Some(cut) = best_threshold(&truth, &score) else { continue };
            let best = score.iter().map(|&cut| balanced(&truth, &score, cut)).fold(0.0, f64::max);
            assert!((balanced(&truth, &score, cut) - best).abs() < 1e-12, "{truth:?} {score:?} at {cut}");
        }
    }

    #[test]
    fn of_equally_good_neighbouring_cuts_the_middle_is_chosen() {
        // 0.4 is held by one row of each class, so the cuts on either side of it are equally good: 0.2 to 0.8.
        let truth = [false, false, true, true];
        assert_eq!(best_threshold(&truth, &[0.2, 0.4, 0.4, 0.8]), Some(0.5));
    }

    #[test]
    fn of_equally_good_runs_the_widest_is_chosen_and_then_the_lowest() {
        // J is 1/2 between the first two rows and between the last two, and 0 in the middle.
        let truth = [false, true, false, true];
        assert_eq!(best_threshold(&truth, &[0.0, 0.1, 0.5, 0.9]), Some(0.7));
        assert_eq!(best_threshold(&truth, &[0.0, 0.5, 0.6, 0.9]), Some(0.25));
        assert_eq!(best_threshold(&truth, &[0.0, 0.25, 0.5, 0.75]), Some(0.125));
    }

    #[test]
    fn the_order_of_the_rows_does_not_move_the_cut() {
        let truth = [false, true, false, true, false, true];
        let score = [0.0, 0.1, 0.5, 0.9, 0.5, 0.5];
        let turned: Vec<bool> = truth.iter().rev().copied().collect();
        let turned_score: Vec<f64> = score.iter().rev().copied().collect();
        assert_eq!(best_threshold(&truth, &score), best_threshold(&turned, &turned_score));
    }

    #[test]
    fn a_score_no_better_than_chance_has_no_cut() {
        assert_eq!(best_threshold(&[false, true, false, true], &[0.5; 4]), None);
        assert_eq!(best_threshold(&[true, true, false, false], &[0.1, 0.2, 0.3, 0.4]), None);
    }

    #[test]
    fn neighbouring_floats_and_infinities_are_separated() {
        let next = 1.0_f64.next_up();
        let cases = [
            (1.0, next),
            (f64::NEG_INFINITY, 1.0),
            (1.0, f64::INFINITY),
            (f64::NEG_INFINITY, f64::INFINITY),
            (-0.0, 5e-324),
        ];
        for (below, above) in cases {
            let (truth, score) = ([false, true], [below, above]);
            let cut = best_threshold(&truth, &score).unwrap();
            assert_eq!(balanced(&truth, &score, cut), 1.0, "{below} {above}");
        }
    }
}
