//! Cross-entropy of probabilities.

/// Keeps the logarithm finite: probabilities are clipped to `[1e-7, 1 - 1e-7]`, as Keras clips its f32 outputs.
pub const PROBABILITY_EPSILON: f64 = 1e-7;

/// How far outside `[0, 1]` the rounding of an f32 softmax may put a probability.
const ROUNDING: f64 = 1e-6;

/// The mean of -ln(p) over `probabilities`, the probability that each row's true class was given, in nats.
///
/// Each is clipped to `[epsilon, 1 - epsilon]` first ([`PROBABILITY_EPSILON`] for metrics that agree with Keras).
/// `None` without rows, and where one of them is no probability (NaN, or outside `[0, 1]` by more than rounding).
pub fn log_loss(probabilities: &[f64], epsilon: f64) -> Option<f64> {
    if probabilities.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    for &probability in probabilities {
        sum += row_loss(probability, epsilon)?;
    }
    Some(sum / probabilities.len() as f64)
}

/// One row's term of [`log_loss`].
pub(super) fn row_loss(probability: f64, epsilon: f64) -> Option<f64> {
    let sane = (-ROUNDING..=1.0 + ROUNDING).contains(&probability);
    // `f64::clamp` panics where the bounds cross; max and min do not, whatever epsilon is.
    sane.then(|| -probability.max(epsilon).min(1.0 - epsilon).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_correct_row_has_no_loss_and_a_certain_wrong_row_a_finite_loss() {
        let right = log_loss(&[1.0], PROBABILITY_EPSILON).unwrap();
        assert!((0.0..2e-7).contains(&right), "{right}");
        let wrong = log_loss(&[0.0], PROBABILITY_EPSILON).unwrap();
        assert!((wrong - 1e7_f64.ln()).abs() < 1e-9, "{wrong}");
        let coin = log_loss(&[0.5, 0.5, 0.5], PROBABILITY_EPSILON).unwrap();
        assert!((coin - std::f64::consts::LN_2).abs() < 1e-15, "{coin}");
    }

    #[test]
    fn values_that_are_not_probabilities_have_no_loss() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.01, -0.2] {
            assert_eq!(log_loss(&[0.5, bad], PROBABILITY_EPSILON), None, "{bad}");
        }
        assert_eq!(log_loss(&[], PROBABILITY_EPSILON), None);
        assert!(log_loss(&[1.000_000_1], PROBABILITY_EPSILON).is_some());
    }

    #[test]
    fn an_absurd_epsilon_does_not_panic() {
        for epsilon in [f64::NAN, 0.9, f64::INFINITY, -1.0] {
            let _ = log_loss(&[0.3], epsilon);
        }
    }
}
