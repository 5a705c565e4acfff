//! Compares two models on the same rows.

use std::cell::Cell;

use super::Interval;
use super::bootstrap::{Units, bootstrap_weights};
use super::roc::Ranking;

/// The comparison of two scores by their ROC AUC.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Comparison {
    /// The ROC AUC of the first.
    pub first: Interval,
    /// The ROC AUC of the second.
    pub second: Interval,
    /// The difference, first minus second, with an interval from paired draws.
    pub difference: Interval,
    /// The two-sided p-value of no difference: twice the smaller fraction of draws on either side of zero, at most 1
    /// (Davison and Hinkley 1997, section 4.4).
    pub p_value: Option<f64>,
}

/// Compares two scores of the same rows by a paired bootstrap: each resample draws the same rows (or whole groups, if
/// `groups` gives the group of each row) for both. All metrics are `None` where a class has no rows, a score is NaN, or
/// the slices differ in length.
pub fn compare_roc_auc(
    truth: &[bool],
    (first, second): (&[f64], &[f64]),
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Comparison {
    let rows = truth.len();
    let fits = first.len() == rows && second.len() == rows && groups.is_none_or(|groups| groups.len() == rows);
    let ranked = |score: &[f64]| fits.then(|| Ranking::new(score, |row| truth[row])).flatten();
    let (Some(first), Some(second)) = (ranked(first), ranked(second)) else { return Comparison::default() };
    let units = groups.map_or(Units::Rows(rows), Units::groups);
    // Draws with both classes, and how many of them have the first score not better and not worse. The first call is
    // for all rows and is not a draw.
    let is_draw = Cell::new(false);
    let (draws, not_better, not_worse) = (Cell::new(0_u32), Cell::new(0_u32), Cell::new(0_u32));
    let [first, second, difference] = bootstrap_weights(rows, &units, seed, resamples, |weights| {
        let [first, second] = [&first, &second].map(|ranking| ranking.auc(|row| u64::from(weights[row])));
        let difference = first.zip(second).map(|(first, second)| first - second);
        if is_draw.replace(true)
            && let Some(difference) = difference
        {
            draws.set(draws.get() + 1);
            not_better.set(not_better.get() + u32::from(difference <= 0.0));
            not_worse.set(not_worse.get() + u32::from(difference >= 0.0));
        }
        [first, second, difference]
    });
    let draws = draws.get();
    let share = |count: u32| f64::from(count + 1) / f64::from(draws + 1);
    let p_value = (difference.value.is_some() && draws > 0)
        .then(|| (2.0 * share(not_better.get().min(not_worse.get()))).min(1.0));
    Comparison { first, second, difference, p_value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The truth, a good score, and a worse score.
    fn rows(count: usize) -> (Vec<bool>, Vec<f64>, Vec<f64>) {
        let mut state = 5_u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let truth: Vec<bool> = (0..count).map(|row| row % 3 == 0).collect();
        let score = |truth: &[bool], pull: f64, uniform: &mut dyn FnMut() -> f64| -> Vec<f64> {
            truth.iter().map(|truth| uniform() + if *truth { pull } else { 0.0 }).collect()
        };
        let good = score(&truth, 0.5, &mut uniform);
        let poor = score(&truth, 0.1, &mut uniform);
        (truth, good, poor)
    }

    #[test]
    fn a_better_score_has_a_positive_difference_and_a_small_p_value() {
        let (truth, good, poor) = rows(300);
        let found = compare_roc_auc(&truth, (&good, &poor), None, 1, 1000);
        let difference = found.difference.value.unwrap();
        assert!((difference - (found.first.value.unwrap() - found.second.value.unwrap())).abs() < 1e-12);
        assert!(found.difference.low.unwrap() > 0.0 && found.p_value.unwrap() < 0.01, "{found:?}");
        let turned = compare_roc_auc(&truth, (&poor, &good), None, 1, 1000);
        assert_eq!((turned.difference.value, turned.p_value), (Some(-difference), found.p_value));
    }

    #[test]
    fn copies_of_rows_in_a_group_do_not_narrow_the_interval_of_a_difference() {
        let (truth, good, poor) = rows(100);
        let truth: Vec<bool> = truth.iter().flat_map(|&truth| [truth; 4]).collect();
        let [good, poor] = [good, poor].map(|score| score.iter().flat_map(|&score| [score; 4]).collect::<Vec<f64>>());
        let patients: Vec<u64> = (0..400).map(|row| row / 4).collect();
        let [alone, together] = [None, Some(patients.as_slice())]
            .map(|groups| compare_roc_auc(&truth, (&good, &poor), groups, 1, 1000))
            .map(|found| [found.first, found.second, found.difference]);
        let width = |interval: Interval| interval.high.unwrap() - interval.low.unwrap();
        for (one, other) in alone.into_iter().zip(together) {
            assert_eq!(one.value, other.value);
            // Twice: the root of four.
            let wider = width(other) / width(one);
            assert!((1.6..2.5).contains(&wider), "{wider} times as wide");
        }
    }

    #[test]
    fn a_score_is_no_better_than_itself() {
        let (truth, good, _) = rows(60);
        let found = compare_roc_auc(&truth, (&good, &good), None, 1, 200);
        assert_eq!((found.difference.value, found.p_value), (Some(0.0), Some(1.0)));
        // One patient is nothing to resample.
        let alone = compare_roc_auc(&truth, (&good, &good), Some(&[7; 60]), 1, 200);
        assert_eq!((alone.difference.low, alone.p_value), (None, None));
        assert_eq!(compare_roc_auc(&truth, (&good, &good[1..]), None, 1, 10), Comparison::default());
        assert_eq!(compare_roc_auc(&[true, true], (&[0.1, 0.2], &[0.1, 0.2]), None, 1, 10).p_value, None);
    }
}
