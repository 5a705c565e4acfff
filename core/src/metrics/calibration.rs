//! Whether probabilities mean what they say, and how to make them: reliability, Brier score, temperature and bias.

use serde::{Deserialize, Serialize};

/// Bins of a reliability table, as usual.
pub const RELIABILITY_BINS: usize = 10;

/// Rows whose probabilities lie in one bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Where the bin begins; only the first one holds its beginning.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// Rows in it.
    pub rows: u64,
    /// Their mean probability; `None` in an empty bin.
    pub mean_probability: Option<f64>,
    /// The fraction of them that is positive; `None` in an empty bin.
    pub positive_share: Option<f64>,
}

/// The rows in `bins` bins of equal width over `[0, 1]`. A row whose probability is no number in `[0, 1]` is in none.
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

/// The mean distance between what the bins say and what is so, every row counting the same (ECE; Naeini et al. 2015).
/// `None` without rows.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> Option<f64> {
    let rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    let apart = |bin: &ReliabilityBin| Some((bin.mean_probability? - bin.positive_share?).abs() * bin.rows as f64);
    (rows > 0).then(|| bins.iter().filter_map(apart).sum::<f64>() / rows as f64)
}

/// The mean squared distance between the probability and what is so (Brier 1950). `None` without rows.
pub fn brier_score(truth: &[bool], probability: &[f64]) -> Option<f64> {
    let squares = truth.iter().zip(probability).map(|(truth, p)| (p - f64::from(u8::from(*truth))).powi(2));
    (!truth.is_empty() && truth.len() == probability.len()).then(|| squares.sum::<f64>() / truth.len() as f64)
}

/// Temperatures that say something: beyond them rows are all told apart, or not at all.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.05..=20.0;

/// The most classes whose biases are sought: a step takes the square of their number per row.
const BIASES_MAX: usize = 20;

/// Newton's steps. A dozen are enough; rows without a best calibration take them all.
const STEPS_MAX: usize = 100;

/// Halvings of a step that leads too far.
const HALVINGS_MAX: usize = 30;

/// Where the slope of the mean loss counts as none.
const FLAT: f64 = 1e-10;

/// Probabilities are clipped to this before their logarithm is taken.
const LEAST: f64 = 1e-12;

/// What is done to a net's probabilities so that they mean what they say: the softmax of `logarithm / temperature + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Above 1 where a net is too sure of itself.
    pub temperature: f64,
    /// One per class, 0 on average: above 0 for a class that class weights, or another mix of classes, made look too rare.
    /// Empty where there is none.
    #[serde(default)]
    pub bias: Vec<f64>,
}

impl Calibration {
    /// The calibration with which the cross-entropy of these rows is least: a temperature (Guo et al. 2017, arXiv 1706.04599)
    /// with a bias per class (Alexandari et al. 2020, arXiv 1901.06852). `probabilities` are rows x classes, row-major.
    ///
    /// There is no bias where the rows do not tell it from a temperature, lack a class, or have more than 20. `None`
    /// without rows, where a truth is no class, and where the best temperature is not between 0.05 and 20: rows that are all told
    /// apart do not say how sure one may be.
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

    /// Newton's method for the inverse of the temperature and the biases of all classes but the first, or for the former
    /// alone where there is one parameter: the loss is convex in them.
    fn least(rows: &[(usize, Vec<f64>)], classes: usize, parameters: usize) -> Option<Self> {
        let mut point = vec![0.0; parameters];
        point[0] = 1.0;
        let mut here = Loss::at(rows, classes, &point);
        for _ in 0..STEPS_MAX {
            // Where rows do not tell the parameters apart there is no single least.
            let step = solve(here.curvature.clone(), here.slope.clone())?;
            if here.slope.iter().all(|slope| slope.abs() < FLAT) {
                break;
            }
            let along = |share: f64| point.iter().zip(&step).map(|(at, step)| at - share * step).collect::<Vec<f64>>();
            let shares = std::iter::successors(Some(1.0), |share| Some(share / 2.0)).take(HALVINGS_MAX);
            let found =
                shares.map(along).map(|to| (Loss::at(rows, classes, &to), to)).find(|(loss, _)| loss.mean < here.mean);
            // No step is better: this is the least that these numbers can tell.
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

    /// Whether it can be applied to so many classes: what comes from a file may hold anything.
    #[must_use]
    pub fn is_for(&self, classes: usize) -> bool {
        let Self { temperature, bias } = self;
        let is_whole = bias.is_empty() || bias.len() == classes;
        is_whole && TEMPERATURES.contains(temperature) && bias.iter().all(|bias| bias.is_finite())
    }

    /// A row's probabilities, calibrated.
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
            // What a class's logit changes by with each parameter: its logarithm, and 1 with its own bias.
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

/// Solves a system of linear equations by elimination with pivots; `None` where it has no single solution.
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

/// The softmax of logarithms times a factor plus a bias, where there is one.
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
    fn probabilities_that_are_right_on_average_have_no_error() {
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

    /// Rows of a net that says `said` where the truth is as likely as `so` says, half of them cases of a logit of 1, half of -1.
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
    fn a_net_that_is_twice_too_sure_gets_a_temperature_of_two() {
        let (truth, probabilities) = rows(|logit| 2.0 * logit, |logit| logit);
        let found = Calibration::fit(&truth, &probabilities, 2).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-3 && found.bias[1].abs() < 1e-3, "{found:?}");
        let calibrated = found.apply(&probabilities[..2]);
        assert!((f64::from(calibrated[1]) - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-4, "{calibrated:?}");
        // Rows that all say the same cannot tell a temperature from a bias.
        let found = Calibration::fit(&truth[..10_000], &probabilities[..20_000], 2).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-3 && found.bias.is_empty(), "{found:?}");
    }

    #[test]
    fn what_class_weights_took_from_a_class_is_given_back() {
        // Trained with the negatives weighing e^1.5 times as much, and too timid besides.
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
    fn what_cannot_be_calibrated_is_not_and_extremes_stay_finite() {
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
