//! Smooth estimates of the best threshold.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Units, bootstrap_weights};

/// Log-odds are clamped to this: 6 in a million.
const LIMIT: f64 = 12.0;

/// Number of histogram cells between the limits.
const CELLS: usize = 240;

/// Width of a cell in log-odds.
const WIDTH: f64 = 2.0 * LIMIT / CELLS as f64;

/// Minimum standard deviation of the kernel, in log-odds.
const BANDWIDTH_MIN: f64 = 0.25;

/// Factor with which the logistic function approximates the normal distribution to within 0.01 (Camilli 1994).
const LOGISTIC_OF_NORMAL: f64 = 1.702;

/// Number of resamples for the interval of a threshold.
const RESAMPLES: usize = 200;

/// A threshold with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The probability at or above which a row is positive.
    pub threshold: f64,
    /// The interval over resampled rows. `None` if the threshold was given.
    pub range: Option<(f64, f64)>,
}

/// Returns the threshold that maximises a smooth estimate of balanced accuracy.
///
/// The maximum over the rows themselves ([`super::best_threshold`]) depends on a few of them: with a few hundred rows
/// it varies by tenths from sample to sample. Here the scores of each class, as log-odds, are smoothed by a normal
/// kernel (bandwidth after Silverman 1986, section 3.4), recall and specificity are those of the smoothed scores, and
/// the maximum is theirs. `groups` are rows that are resampled together.
///
/// `None` where a class has no rows, a score is NaN, or no cut is better than chance.
#[must_use]
pub fn smooth_threshold(truth: &[bool], score: &[f64], groups: Option<&[u64]>, seed: u64) -> Option<Decision> {
    if truth.len() != score.len() || score.iter().any(|score| score.is_nan()) {
        return None;
    }
    let cells: Vec<usize> = score.iter().map(|score| cell(*score)).collect();
    let units = groups.map_or(Units::Rows(truth.len()), Units::groups);
    let statistic = |weights: &[u32]| {
        let mut counts = [[0.0; CELLS]; 2];
        for ((truth, cell), weight) in truth.iter().zip(&cells).zip(weights) {
            counts[usize::from(*truth)][*cell] += f64::from(*weight);
        }
        [best_cut(&counts).map(|log_odds| 1.0 / (1.0 + (-log_odds).exp()))]
    };
    let [found] = bootstrap_weights(truth.len(), &units, seed, RESAMPLES, statistic);
    Some(Decision { threshold: found.value?, range: found.low.zip(found.high) })
}

/// Returns the cell of a probability.
fn cell(probability: f64) -> usize {
    let log_odds = (probability / (1.0 - probability)).ln().clamp(-LIMIT, LIMIT);
    (((log_odds + LIMIT) / WIDTH) as usize).min(CELLS - 1)
}

/// The log-odds at which recall and specificity of the smoothed scores add up to the most; `counts` are those of the
/// negative and of the positive rows.
fn best_cut(counts: &[[f64; CELLS]; 2]) -> Option<f64> {
    let (below_negative, below_positive) = (smoothed(&counts[0])?, smoothed(&counts[1])?);
    let merit: Vec<f64> = below_negative.iter().zip(&below_positive).map(|(clear, missed)| clear - missed).collect();
    let most = merit.iter().copied().max_by(f64::total_cmp).filter(|most| *most > 1e-9)?;
    let is_best = |merit: &f64| most - merit < 1e-9;
    let best = merit.iter().position(is_best)?;
    let equals = merit[best..].iter().take_while(|merit| is_best(merit)).count();
    if equals > 1 {
        // The classes are far apart, so take the middle.
        return Some((best as f64 + (equals - 1) as f64 / 2.0) * WIDTH - LIMIT);
    }
    // The vertex of the parabola through the best cut and its neighbours.
    let offset = match (best.checked_sub(1).and_then(|place| merit.get(place)), merit.get(best + 1)) {
        (Some(before), Some(after)) if 2.0 * most - before - after > 1e-12 => {
            0.5 * (after - before) / (2.0 * most - before - after)
        }
        _ => 0.0,
    };
    Some((best as f64 + offset) * WIDTH - LIMIT)
}

/// The fraction of the smoothed scores below the lower edge of each cell; `None` without scores.
fn smoothed(counts: &[f64; CELLS]) -> Option<Vec<f64>> {
    let total: f64 = counts.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let bandwidth = bandwidth(counts, total);
    // The fraction of a kernel that lies below an edge so many cells above the kernel's own cell.
    let below = |cells: f64| 1.0 / (1.0 + (-LOGISTIC_OF_NORMAL * (cells - 0.5) * WIDTH / bandwidth).exp());
    let kernel: Vec<f64> = (0..2 * CELLS).map(|lag| below(lag as f64 - CELLS as f64)).collect();
    let share = |edge: usize| {
        let sum: f64 = counts.iter().enumerate().map(|(cell, count)| count * kernel[edge + CELLS - cell]).sum();
        sum / total
    };
    Some((0..CELLS).map(share).collect())
}

/// Silverman's: 0.9 times the smaller of standard deviation and interquartile range / 1.34, times n^(-1/5).
fn bandwidth(counts: &[f64; CELLS], total: f64) -> f64 {
    let places = || counts.iter().enumerate().map(|(cell, count)| (cell as f64 * WIDTH, *count));
    let mean = places().map(|(place, count)| place * count).sum::<f64>() / total;
    let variance = places().map(|(place, count)| (place - mean).powi(2) * count).sum::<f64>() / total;
    let quantile = |share: f64| {
        let mut below = 0.0;
        let found = places().find(|(_, count)| {
            below += count;
            below >= share * total
        });
        found.map_or(0.0, |(place, _)| place)
    };
    let spread = variance.sqrt().min((quantile(0.75) - quantile(0.25)).max(WIDTH) / 1.34);
    (0.9 * spread * total.powf(-0.2)).max(BANDWIDTH_MIN)
}

#[cfg(test)]
mod tests {
    use super::super::best_threshold;
    use super::*;
    use crate::random::derive;

    /// Probabilities whose log-odds are normal around `middle` with this deviation.
    fn probabilities(seed: u64, rows: u64, middle: f64, deviation: f64) -> Vec<f64> {
        let uniform = |row: u64, which| (derive(seed, "luck", &[row, which]) >> 11) as f64 / (1_u64 << 53) as f64;
        let normal = |row| {
            let radius = (-2.0 * (1.0 - uniform(row, 0)).ln()).sqrt();
            radius * (2.0 * std::f64::consts::PI * uniform(row, 1)).cos()
        };
        (0..rows).map(|row| 1.0 / (1.0 + (-(middle + deviation * normal(row))).exp())).collect()
    }

    fn sample(seed: u64, rows: u64) -> (Vec<bool>, Vec<f64>) {
        let negative = probabilities(seed, rows / 4, -2.0, 1.5);
        let positive = probabilities(seed + 1, rows * 3 / 4, 3.0, 1.5);
        let truth = (0..negative.len() + positive.len()).map(|row| row >= negative.len()).collect();
        (truth, [negative, positive].concat())
    }

    fn log_odds(probability: f64) -> f64 {
        (probability / (1.0 - probability)).ln()
    }

    #[test]
    fn the_smooth_threshold_of_two_normal_classes_is_midway_and_varies_less() {
        let (mut smooth, mut raw) = (Vec::new(), Vec::new());
        for seed in 0..20 {
            let (truth, score) = sample(seed * 2, 500);
            let decision = smooth_threshold(&truth, &score, None, 1).unwrap();
            let (low, high) = decision.range.unwrap();
            assert!(low <= decision.threshold && decision.threshold <= high, "{decision:?}");
            smooth.push((log_odds(decision.threshold) - 0.5).abs());
            raw.push((log_odds(best_threshold(&truth, &score).unwrap()) - 0.5).abs());
        }
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(mean(&smooth) < 0.25, "{smooth:?}");
        assert!(mean(&smooth) < 0.7 * mean(&raw), "smooth {} raw {}", mean(&smooth), mean(&raw));
    }

    #[test]
    fn separated_classes_have_a_threshold_in_the_middle() {
        let truth = [vec![false; 40], vec![true; 60]].concat();
        let score = [vec![0.02; 40], vec![0.98; 60]].concat();
        let decision = smooth_threshold(&truth, &score, None, 1).unwrap();
        assert!((decision.threshold - 0.5).abs() < 0.05, "{decision:?}");
        let extreme: Vec<f64> = score.iter().map(|score| score.round()).collect();
        assert!((smooth_threshold(&truth, &extreme, None, 1).unwrap().threshold - 0.5).abs() < 0.05);
    }

    #[test]
    fn the_threshold_does_not_depend_on_the_order_or_repetition_of_rows() {
        let (truth, score) = sample(9, 300);
        let found = smooth_threshold(&truth, &score, None, 1).unwrap().threshold;
        let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<_>>();
        let turned: Vec<bool> = truth.iter().rev().copied().collect();
        assert_eq!(smooth_threshold(&turned, &reversed(&score), None, 1).unwrap().threshold, found);
        let groups: Vec<u64> = (0..truth.len() as u64).map(|row| row / 2).collect();
        assert_eq!(smooth_threshold(&truth, &score, Some(&groups), 1).unwrap().threshold, found);
    }

    #[test]
    fn copies_of_rows_in_a_group_do_not_narrow_the_interval_of_a_threshold() {
        let (mut alone, mut together) = (0.0, 0.0);
        // Where the best cut lies is no mean: of one sample the ratio of the ranges is anything between one and three.
        for seed in 0..5 {
            let (truth, score) = sample(seed * 2, 200);
            let truth: Vec<bool> = truth.iter().flat_map(|&truth| [truth; 4]).collect();
            let score: Vec<f64> = score.iter().flat_map(|&score| [score; 4]).collect();
            let patients: Vec<u64> = (0..truth.len() as u64).map(|row| row / 4).collect();
            let [one, other] =
                [None, Some(patients.as_slice())].map(|groups| smooth_threshold(&truth, &score, groups, 1).unwrap());
            assert_eq!(one.threshold, other.threshold);
            let width = |decision: Decision| decision.range.map(|(low, high)| high - low).unwrap();
            alone += width(one);
            together += width(other);
        }
        assert!(together > 1.5 * alone, "{together} together, {alone} alone");
    }

    #[test]
    fn uninformative_rows_give_no_threshold() {
        assert_eq!(smooth_threshold(&[true, true], &[0.1, 0.9], None, 1), None);
        assert_eq!(smooth_threshold(&[true, false], &[f64::NAN, 0.9], None, 1), None);
        assert_eq!(smooth_threshold(&[true, false], &[0.5], None, 1), None);
        let (truth, score) = ([vec![true; 30], vec![false; 30]].concat(), [vec![0.01; 30], vec![0.99; 30]].concat());
        assert_eq!(smooth_threshold(&truth, &score, None, 1), None);
    }
}
