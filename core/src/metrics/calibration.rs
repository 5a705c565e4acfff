//! Calibration: reliability tables, the Brier score, and fitting a temperature and biases.

use serde::{Deserialize, Serialize};

/// Default number of bins of a reliability table.
pub const RELIABILITY_BINS: usize = 10;

/// A bin of a reliability table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Lower end of the bin. It is exclusive, except in the first bin.
    pub low: f64,
    /// Upper end of the bin, inclusive.
    pub high: f64,
    /// Number of rows.
    pub rows: u64,
    /// Mean probability. `None` for an empty bin.
    pub mean_probability: Option<f64>,
    /// Fraction of positive rows. `None` for an empty bin.
    pub positive_share: Option<f64>,
}

/// Counts the rows in `bins` bins of equal width over `[0, 1]`. Rows whose probability is NaN or outside `[0, 1]` are
/// ignored.
pub fn reliability(truth: &[bool], probability: &[f64], bins: usize) -> Vec<ReliabilityBin> {
    let width = 1.0 / bins.max(1) as f64;
    let mut sums = vec![(0_u64, 0.0, 0_u64); bins];
    for (truth, p) in truth.iter().zip(probability).filter(|(_, p)| (0.0..=1.0).contains(*p)) {
        let bin = ((p * bins as f64).ceil() as usize).clamp(1, bins.max(1)) - 1;
        if let Some((rows, sum, positives)) = sums.get_mut(bin) {
            (*rows, *sum, *positives) = (*rows + 1, *sum + p, *positives + u64::from(*truth));
        }
    }
    let of = |(place, (rows, sum, positives)): (usize, (u64, f64, u64))| ReliabilityBin {
        low: place as f64 * width,
        high: (place + 1) as f64 * width,
        rows,
        mean_probability: (rows > 0).then(|| sum / rows as f64),
        positive_share: (rows > 0).then(|| positives as f64 / rows as f64),
    };
    sums.into_iter().enumerate().map(of).collect()
}

/// The expected calibration error (Naeini et al. 2015): the mean gap between the mean probability and the fraction of
/// positive rows of the bins, weighted by rows. `None` without rows.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> Option<f64> {
    let rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    let apart = |bin: &ReliabilityBin| Some((bin.mean_probability? - bin.positive_share?).abs() * bin.rows as f64);
    (rows > 0).then(|| bins.iter().filter_map(apart).sum::<f64>() / rows as f64)
}

/// The mean squared difference between the probability and the truth, which is 0 or 1 (Brier 1950). `None` without
/// rows.
pub fn brier_score(truth: &[bool], probability: &[f64]) -> Option<f64> {
    let squares = truth.iter().zip(probability).map(|(truth, p)| (p - f64::from(u8::from(*truth))).powi(2));
    (!truth.is_empty() && truth.len() == probability.len()).then(|| squares.sum::<f64>() / truth.len() as f64)
}

/// Range of valid temperatures. A best temperature outside means that the rows are separated perfectly, or not at all.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.05..=20.0;

/// Maximum number of classes for which biases are fitted. The time per row and step is quadratic in it.
const BIASES_MAX: usize = 20;

/// Maximum number of Newton steps. About twelve are enough if there is a minimum.
const STEPS_MAX: usize = 100;

/// Maximum number of halvings of a step that increases the loss.
const HALVINGS_MAX: usize = 30;

/// The slope of the mean loss below which the fit has converged.
const FLAT: f64 = 1e-10;

/// Probabilities are clipped to this before their logarithm is taken.
const LEAST: f64 = 1e-12;

/// A calibration of probabilities: the softmax of `logarithm / temperature + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The temperature. It is above 1 if the net is overconfident.
    pub temperature: f64,
    /// The bias of each class, with mean 0. It is above 0 for a class whose probability is too low, for example because
    /// of class weights. Empty if there is no bias.
    #[serde(default)]
    pub bias: Vec<f64>,
}

impl Calibration {
    /// Fits the calibration with the least cross-entropy on these rows: a temperature (Guo et al. 2017, arXiv
    /// 1706.04599) with a bias per class (Alexandari et al. 2020, arXiv 1901.06852). `probabilities` are rows x
    /// classes, row-major.
    ///
    /// No bias is fitted if the rows do not determine it, if a class has no rows, or if there are more than 20 classes.
    /// Returns `None` if there are no rows, if a truth is not a class index, or if the best temperature is not between
    /// 0.05 and 20, as for rows that are all classified correctly.
    pub fn fit(truth: &[usize], probabilities: &[f32], classes: usize) -> Option<Self> {
        let fits = classes > 1 && !truth.is_empty() && probabilities.len() == truth.len() * classes;
        if !fits || truth.iter().any(|truth| *truth >= classes) || probabilities.iter().any(|p| p.is_nan()) {
            return None;
        }
        let rows: Vec<(usize, Vec<f64>)> =
            truth.iter().copied().zip(probabilities.chunks_exact(classes).map(logarithms)).collect();
        let has_all = (0..classes).all(|class| truth.contains(&class));
        let with_bias = (has_all && classes <= BIASES_MAX).then(|| Self::least(&rows, classes, classes)).flatten();
        with_bias.or_else(|| Self::least(&rows, classes, 1))
    }

    /// Newton's method. The parameters are the inverse of the temperature and the biases of all classes except the
    /// first, or only the inverse of the temperature. The loss is convex in them.
    fn least(rows: &[(usize, Vec<f64>)], classes: usize, parameters: usize) -> Option<Self> {
        let mut point = vec![0.0; parameters];
        point[0] = 1.0;
        let mut here = Loss::at(rows, classes, &point);
        for _ in 0..STEPS_MAX {
            // The rows do not determine the parameters, so there is no unique minimum.
            let step = solve(here.curvature.clone(), here.slope.clone())?;
            if here.slope.iter().all(|slope| slope.abs() < FLAT) {
                break;
            }
            let along = |share: f64| point.iter().zip(&step).map(|(at, step)| at - share * step).collect::<Vec<f64>>();
            let shares = std::iter::successors(Some(1.0), |share| Some(share / 2.0)).take(HALVINGS_MAX);
            let found =
                shares.map(along).map(|to| (Loss::at(rows, classes, &to), to)).find(|(loss, _)| loss.mean < here.mean);
            // No step decreases the loss, so this is the minimum to within rounding.
            let Some((loss, to)) = found else { break };
            (here, point) = (loss, to);
        }
        let temperature = 1.0 / point[0];
        let mean = point[1..].iter().sum::<f64>() / classes as f64;
        let bias = match parameters {
            1 => Vec::new(),
            _ => std::iter::once(&0.0).chain(&point[1..]).map(|bias| bias - mean).collect(),
        };
        TEMPERATURES.contains(&temperature).then_some(Self { temperature, bias })
    }

    /// Checks that the calibration is valid for this number of classes, because files are not trusted.
    #[must_use]
    pub fn is_for(&self, classes: usize) -> bool {
        let Self { temperature, bias } = self;
        let is_whole = bias.is_empty() || bias.len() == classes;
        is_whole && TEMPERATURES.contains(temperature) && bias.iter().all(|bias| bias.is_finite())
    }

    /// Calibrates the probabilities of a row.
    #[must_use]
    pub fn apply(&self, probabilities: &[f32]) -> Vec<f32> {
        softmax(&logarithms(probabilities), 1.0 / self.temperature, &self.bias).into_iter().map(|p| p as f32).collect()
    }
}

/// The mean cross-entropy of rows with its first and second derivatives by the parameters.
struct Loss {
    mean: f64,
    slope: Vec<f64>,
    curvature: Vec<Vec<f64>>,
}

impl Loss {
    fn at(rows: &[(usize, Vec<f64>)], classes: usize, point: &[f64]) -> Self {
        let parameters = point.len();
        let mut loss =
            Self { mean: 0.0, slope: vec![0.0; parameters], curvature: vec![vec![0.0; parameters]; parameters] };
        let bias: Vec<f64> = if parameters > 1 { [&[0.0], &point[1..]].concat() } else { Vec::new() };
        let share = 1.0 / rows.len() as f64;
        for (truth, logs) in rows {
            let softened = softmax(logs, point[0], &bias);
            loss.mean -= share * softened[*truth].max(f64::MIN_POSITIVE).ln();
            // The derivative of the logit of a class by each parameter: its logarithm, and 1 for its own bias.
            let change = |class: usize, by: usize| if by == 0 { logs[class] } else { f64::from(u8::from(by == class)) };
            let mean: Vec<f64> =
                (0..parameters).map(|by| (0..classes).map(|class| softened[class] * change(class, by)).sum()).collect();
            for by in 0..parameters {
                loss.slope[by] += share * (mean[by] - change(*truth, by));
                for and in 0..parameters {
                    let product = |class: usize| softened[class] * change(class, by) * change(class, and);
                    loss.curvature[by][and] += share * ((0..classes).map(product).sum::<f64>() - mean[by] * mean[and]);
                }
            }
        }
        loss
    }
}

/// Solves a system of linear equations by elimination with pivots. Returns `None` if there is no unique solution.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in (0..size).filter(|row| *row != column) {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column].clone();
            matrix[row].iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            right[row] -= factor * right[column];
        }
    }
    Some((0..size).map(|row| right[row] / matrix[row][row]).collect())
}

fn logarithms(probabilities: &[f32]) -> Vec<f64> {
    probabilities.iter().map(|p| f64::from(*p).max(LEAST).ln()).collect()
}

/// Returns the softmax of logarithms times a factor plus an optional bias.
fn softmax(logs: &[f64], factor: f64, bias: &[f64]) -> Vec<f64> {
    let of = |(class, log): (usize, &f64)| log * factor + bias.get(class).copied().unwrap_or(0.0);
    let logits: Vec<f64> = logs.iter().enumerate().map(of).collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_that_match_the_frequencies_have_no_calibration_error() {
        let truth = [true, false, true, true, false, false, false, true];
        let p = [0.75, 0.75, 0.75, 0.75, 0.25, 0.25, 0.25, 0.25];
        let bins = reliability(&truth, &p, 10);
        assert_eq!(bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(), [0, 0, 4, 0, 0, 0, 0, 4, 0, 0]);
        assert_eq!(expected_calibration_error(&bins), Some(0.0));
        assert_eq!(
            (bins[7].low, bins[7].mean_probability, bins[7].positive_share),
            (0.7000000000000001, Some(0.75), Some(0.75))
        );
        let sure = reliability(&truth, &[1.0; 8], 10);
        assert_eq!(expected_calibration_error(&sure), Some(0.5));
        assert_eq!(expected_calibration_error(&reliability(&[], &[], 10)), None);
        assert_eq!(brier_score(&truth, &p), Some(0.1875));
        assert_eq!(brier_score(&[], &[]), None);
    }

    /// Rows with probability `said` and true frequency `so`, half of them for a logit of 1 and half for -1.
    fn rows(said: impl Fn(f64) -> f64, so: impl Fn(f64) -> f64) -> (Vec<usize>, Vec<f32>) {
        let p = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let (mut truth, mut probabilities) = (Vec::new(), Vec::new());
        for logit in [1.0, -1.0] {
            let positives = (p(so(logit)) * 10_000.0).round() as usize;
            truth.extend((0..10_000).map(|row| usize::from(row < positives)));
            let said = p(said(logit)) as f32;
            probabilities.extend((0..10_000).flat_map(|_| [1.0 - said, said]));
        }
        (truth, probabilities)
    }

    #[test]
    fn a_net_with_doubled_logits_gets_a_temperature_of_two() {
        let (truth, probabilities) = rows(|logit| 2.0 * logit, |logit| logit);
        let found = Calibration::fit(&truth, &probabilities, 2).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-3 && found.bias[1].abs() < 1e-3, "{found:?}");
        let calibrated = found.apply(&probabilities[..2]);
        assert!((f64::from(calibrated[1]) - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-4, "{calibrated:?}");
        // Rows with equal probabilities do not determine both a temperature and a bias.
        let found = Calibration::fit(&truth[..10_000], &probabilities[..20_000], 2).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-3 && found.bias.is_empty(), "{found:?}");
    }

    #[test]
    fn the_bias_corrects_the_effect_of_class_weights() {
        // As if negatives had e^1.5 times the weight, and the net were underconfident.
        let (truth, probabilities) = rows(|logit| (logit - 1.5) / 2.0, |logit| logit);
        let found = Calibration::fit(&truth, &probabilities, 2).unwrap();
        assert!((found.temperature - 0.5).abs() < 1e-3, "{found:?}");
        assert!(
            (found.bias[1] - found.bias[0] - 1.5).abs() < 1e-2 && (found.bias[0] + found.bias[1]).abs() < 1e-12,
            "{found:?}"
        );
        let (score, truth): (Vec<f64>, Vec<bool>) = probabilities
            .chunks_exact(2)
            .zip(&truth)
            .map(|(row, truth)| (f64::from(found.apply(row)[1]), *truth == 1))
            .unzip();
        let error = expected_calibration_error(&reliability(&truth, &score, 10)).unwrap();
        assert!(error < 1e-3, "{error}");
    }

    #[test]
    fn separable_rows_are_not_calibrated_and_extreme_probabilities_stay_finite() {
        assert_eq!(Calibration::fit(&[], &[], 2), None);
        assert_eq!(Calibration::fit(&[2], &[0.5, 0.5], 2), None);
        assert_eq!(Calibration::fit(&[0], &[f32::NAN, 0.5], 2), None);
        assert_eq!(Calibration::fit(&[0, 1], &[0.7, 0.3, 0.4, 0.6], 2), None, "all are right");
        assert_eq!(Calibration::fit(&[1, 0], &[0.7, 0.3, 0.4, 0.6], 2), None, "all are wrong");
        assert_eq!(Calibration::fit(&[0, 1], &[0.5; 4], 2), None, "nothing is said");
        let sharp = Calibration { temperature: 0.05, bias: vec![-2.0, 2.0] };
        assert!(sharp.apply(&[1.0, 0.0]).iter().all(|p| p.is_finite()));
    }
}
