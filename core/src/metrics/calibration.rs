//! Whether probabilities mean what they say, and how to make them: reliability, Brier score, temperature scaling.

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
    /// The share of them that is positive; `None` in an empty bin.
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

/// Temperatures that are looked at.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.05..=20.0;

/// Halvings of the search: more than an f64's significand has bits.
const HALVINGS: usize = 60;

/// Probabilities are clipped to this before their logarithm is taken.
const LEAST: f64 = 1e-12;

/// The temperature that logits are divided by so that the cross-entropy of these rows is least (Guo et al. 2017, arXiv
/// 1706.04599): above 1 where a net is too sure of itself. `probabilities` are rows x classes, row-major. The order of a
/// row's classes never changes. `None` without rows, where a truth is no class, and where the best temperature is not between
/// 0.05 and 20: rows that are all told apart do not say how sure one may be.
pub fn temperature(truth: &[usize], probabilities: &[f32], classes: usize) -> Option<f64> {
    let fits = classes > 1 && !truth.is_empty() && probabilities.len() == truth.len() * classes;
    if !fits || truth.iter().any(|truth| *truth >= classes) || probabilities.iter().any(|p| p.is_nan()) {
        return None;
    }
    let rows: Vec<Vec<f64>> = probabilities.chunks_exact(classes).map(logarithms).collect();
    // The loss is convex in the inverse of the temperature: its slope has one zero.
    let slope = |inverse: f64| {
        let of = |(truth, logs): (&usize, &Vec<f64>)| {
            let softened = soften(logs, inverse);
            logs.iter().zip(&softened).map(|(log, p)| log * p).sum::<f64>() - logs[*truth]
        };
        truth.iter().zip(&rows).map(of).sum::<f64>()
    };
    let (mut low, mut high) = (1.0 / TEMPERATURES.end(), 1.0 / TEMPERATURES.start());
    if slope(low) >= 0.0 || slope(high) <= 0.0 {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(1.0 / f64::midpoint(low, high))
}

/// A row's probabilities at a temperature.
pub fn at_temperature(probabilities: &[f32], temperature: f64) -> Vec<f32> {
    if temperature == 1.0 {
        return probabilities.to_vec();
    }
    soften(&logarithms(probabilities), 1.0 / temperature).into_iter().map(|p| p as f32).collect()
}

fn logarithms(probabilities: &[f32]) -> Vec<f64> {
    probabilities.iter().map(|p| f64::from(*p).max(LEAST).ln()).collect()
}

/// The softmax of logarithms times a factor.
fn soften(logs: &[f64], factor: f64) -> Vec<f64> {
    let most = logs.iter().fold(f64::NEG_INFINITY, |most, log| most.max(log * factor));
    let powers: Vec<f64> = logs.iter().map(|log| (log * factor - most).exp()).collect();
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

    #[test]
    fn a_net_that_is_twice_too_sure_gets_a_temperature_of_two() {
        // Of the rows with logit 2, as many are positive as a logit of 1 says.
        let p = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let positives = (p(1.0) * 10_000.0).round() as usize;
        let truth: Vec<usize> = (0..10_000).map(|row| usize::from(row < positives)).collect();
        let probabilities: Vec<f32> = truth.iter().flat_map(|_| [1.0 - p(2.0), p(2.0)]).map(|p| p as f32).collect();
        let found = temperature(&truth, &probabilities, 2).unwrap();
        assert!((found - 2.0).abs() < 1e-3, "{found}");
        let calibrated = at_temperature(&probabilities[..2], found);
        assert!((f64::from(calibrated[1]) - p(1.0)).abs() < 1e-4, "{calibrated:?}");
        assert_eq!(at_temperature(&probabilities[..2], 1.0), probabilities[..2]);
    }

    #[test]
    fn what_has_no_temperature_gets_none_and_extremes_stay_finite() {
        assert_eq!(temperature(&[], &[], 2), None);
        assert_eq!(temperature(&[2], &[0.5, 0.5], 2), None);
        assert_eq!(temperature(&[0], &[f32::NAN, 0.5], 2), None);
        assert_eq!(temperature(&[0, 1], &[0.7, 0.3, 0.4, 0.6], 2), None, "all are right");
        assert_eq!(temperature(&[1, 0], &[0.7, 0.3, 0.4, 0.6], 2), None, "all are wrong");
        assert_eq!(temperature(&[0, 1], &[0.5; 4], 2), None, "nothing is said");
        assert!(at_temperature(&[1.0, 0.0], 0.05).iter().all(|p| p.is_finite()));
    }
}
