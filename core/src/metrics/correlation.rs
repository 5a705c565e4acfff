//! Rank correlations: how far one number per row follows another.

use super::bootstrap::{Interval, Units, bootstrap_weights};
use super::roc::{Ranking, roc_auc_interval};

/// Spearman's rank correlation of two numbers per row, from -1 to 1. Tied numbers have the mean of their ranks.
///
/// `None` if one of the two is the same in all rows, if a number is NaN, and if the slices differ in length. Infinite
/// numbers are allowed.
pub fn rank_correlation(first: &[f64], second: &[f64]) -> Option<f64> {
    let (first, second) = ranked(first, second)?;
    correlation(&first, &second, &vec![1; first.len()])
}

/// [`rank_correlation`] with its bootstrap interval, in which the rows of a group are drawn together.
///
/// `groups` has a number per row. Without it each row is drawn on its own. For independent rows of a normal distribution,
/// the interval agrees with that of Fisher's z with the standard error of Bonett and Wright (2000). Unlike it, it does not
/// assume either.
pub fn rank_correlation_interval(
    first: &[f64],
    second: &[f64],
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Interval {
    let rows = first.len();
    let Some((first, second)) = ranked(first, second) else { return Interval::default() };
    let units = groups.map_or(Units::Rows(rows), Units::groups);
    let [interval] =
        bootstrap_weights(rows, &units, seed, resamples, |weights| [correlation(&first, &second, weights)]);
    interval
}

/// The rank-biserial correlation of a score with being one of some rows, with its bootstrap interval: twice the ROC AUC
/// minus 1 (Cureton 1956), from -1 to 1.
///
/// `is_in` and `score` have one element per row, `groups` as in [`rank_correlation_interval`]. `None` where
/// [`super::roc_auc`] is.
pub fn rank_biserial_interval(
    is_in: &[bool],
    score: &[f64],
    groups: Option<&[u64]>,
    seed: u64,
    resamples: usize,
) -> Interval {
    let Interval { value, low, high } = roc_auc_interval(is_in, score, groups, seed, resamples);
    let [value, low, high] = [value, low, high].map(|auc| auc.map(|auc| 2.0 * auc - 1.0));
    Interval { value, low, high }
}

fn ranked(first: &[f64], second: &[f64]) -> Option<(Ranking, Ranking)> {
    if first.len() != second.len() {
        return None;
    }
    Some((Ranking::new(first, |_| false)?, Ranking::new(second, |_| false)?))
}

/// The correlation of the ranks of rows that count this many times. Summed in integers, so that the order of the rows
/// does not matter.
fn correlation(first: &Ranking, second: &Ranking, weights: &[u32]) -> Option<f64> {
    let (first, second) = (first.centred_ranks(weights), second.centred_ranks(weights));
    let sum = |one: &[i64], other: &[i64]| -> i128 {
        let pairs = one.iter().zip(other).zip(weights);
        pairs.map(|((one, other), weight)| i128::from(*one) * i128::from(*other) * i128::from(*weight)).sum()
    };
    let (squares, other_squares) = (sum(&first, &first), sum(&second, &second));
    // Of equal numbers, the root of the product is exact.
    let root = (squares as f64 * other_squares as f64).sqrt();
    (squares > 0 && other_squares > 0).then(|| (sum(&first, &second) as f64 / root).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::roc_auc;

    // scipy 1.17.1, from tests/reference/spearman.py.
    const FIRST: [f64; 12] = [0.12, 0.55, 0.55, 0.90, 0.31, 0.47, 0.47, 0.47, 0.08, 0.77, 0.63, 0.29];
    const SECOND: [f64; 12] = [340.0, 512.0, 480.0, 1024.0, 340.0, 600.0, 512.0, 340.0, 300.0, 900.0, 512.0, 640.0];
    const WEIGHTS: [u32; 12] = [1, 0, 3, 2, 1, 1, 0, 2, 1, 1, 4, 1];
    const CORRELATION: f64 = 0.665_483_644_439_064_5;
    const WEIGHTED: f64 = 0.731_743_258_405_952_2;
    const WITH_INFINITY: f64 = -0.299_465_716_405_887;

    fn assert_near(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-12), "{found:?}, expected {expected}");
    }

    /// Numbers between 0 and 1.
    fn uniform(count: usize, mut state: u64) -> Vec<f64> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_correlation_is_that_of_scipy_with_ties_and_infinite_numbers() {
        assert_near(rank_correlation(&FIRST, &SECOND), CORRELATION);
        assert_near(rank_correlation(&SECOND, &FIRST), CORRELATION);
        assert_near(rank_correlation(&FIRST, &SECOND.map(|number| -number)), -CORRELATION);
        let low = f64::NEG_INFINITY;
        let missing = [low, 1.0, 2.0, low, 3.0, 3.0, 5.0, low, 9.0, 4.0, 4.0, 8.0];
        assert_near(rank_correlation(&FIRST, &missing), WITH_INFINITY);
        assert_near(rank_correlation(&FIRST, &FIRST.map(|number| number.powi(3))), 1.0);
        // The two zeros are a tie.
        assert_near(rank_correlation(&[-0.0, 0.0, 1.0], &[5.0, 5.0, 7.0]), 1.0);
    }

    #[test]
    fn a_row_that_counts_twice_is_like_two_rows() {
        let (first, second) = ranked(&FIRST, &SECOND).unwrap();
        assert_near(correlation(&first, &second, &WEIGHTS), WEIGHTED);
        assert_eq!(correlation(&first, &second, &[0; 12]), None);
    }

    #[test]
    fn constants_nan_and_different_lengths_have_no_correlation() {
        assert_eq!(rank_correlation(&FIRST, &[7.0; 12]), None);
        assert_eq!(rank_correlation(&[7.0; 12], &FIRST), None);
        assert_eq!(rank_correlation(&[0.1, f64::NAN, 0.3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(rank_correlation(&[0.1, 0.2], &[1.0, 2.0, 3.0]), None);
        assert_eq!((rank_correlation(&[], &[]), rank_correlation(&[1.0], &[2.0])), (None, None));
        let none = rank_correlation_interval(&FIRST, &[7.0; 12], None, 1, 50);
        assert_eq!(none, Interval::default());
        assert_eq!(rank_correlation_interval(&FIRST, &SECOND[1..], None, 1, 50), Interval::default());
    }

    /// Numbers that are nearly normal: each is a sum of twelve uniform ones.
    fn normal(count: usize, seed: u64) -> Vec<f64> {
        uniform(12 * count, seed).chunks_exact(12).map(|twelve| twelve.iter().sum::<f64>() - 6.0).collect()
    }

    #[test]
    fn the_interval_of_independent_normal_rows_is_that_of_bonett_and_wright() {
        let rows = 500;
        let (first, noise) = (normal(rows, 1), normal(rows, 2));
        let second: Vec<f64> = first.iter().zip(&noise).map(|(number, noise)| number + 1.2 * noise).collect();
        let found = rank_correlation_interval(&first, &second, None, 42, 2000);
        let value = found.value.unwrap();
        assert!((0.5..0.75).contains(&value), "{found:?}");
        let half = 1.96 * ((1.0 + value * value / 2.0) / (rows as f64 - 3.0)).sqrt();
        let [low, high] = [-half, half].map(|step| (value.atanh() + step).tanh());
        assert!((found.low.unwrap() - low).abs() < 0.02, "{found:?}, expected {low}");
        assert!((found.high.unwrap() - high).abs() < 0.02, "{found:?}, expected {high}");
    }

    #[test]
    fn copies_of_rows_in_a_group_do_not_narrow_the_interval() {
        let (first, noise) = (uniform(100, 3), uniform(100, 4));
        let second: Vec<f64> = first.iter().zip(&noise).map(|(number, noise)| number + 2.0 * noise).collect();
        let copied = |numbers: &[f64]| numbers.iter().flat_map(|number| [*number; 4]).collect::<Vec<f64>>();
        let (many, others) = (copied(&first), copied(&second));
        let groups: Vec<u64> = (0..400).map(|row| row / 4).collect();
        let width = |interval: Interval| interval.high.unwrap() - interval.low.unwrap();
        let alone = rank_correlation_interval(&many, &others, None, 1, 1000);
        let together = rank_correlation_interval(&many, &others, Some(&groups), 1, 1000);
        assert_eq!(alone.value, together.value);
        // Twice: the root of four.
        let wider = width(together) / width(alone);
        assert!((1.6..2.5).contains(&wider), "{wider} times as wide");
    }

    #[test]
    fn the_rank_biserial_correlation_is_a_rescaled_roc_auc() {
        let is_in: Vec<bool> = (0..12).map(|row| row % 3 == 0).collect();
        let found = rank_biserial_interval(&is_in, &FIRST, None, 1, 200);
        assert_near(found.value, 2.0 * roc_auc(&is_in, &FIRST).unwrap() - 1.0);
        assert!(found.low.unwrap() <= found.value.unwrap() && found.value.unwrap() <= found.high.unwrap());
        assert_eq!(rank_biserial_interval(&[true; 12], &FIRST, None, 1, 20).value, None);
    }
}
