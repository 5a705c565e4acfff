//! The learning rate over a run.

use std::f64::consts::PI;

use tusk_core::spec::{ModelSpec, Schedule};

/// Share of a run in which the cosine schedule warms up.
const WARM_UP: f64 = 0.2;

/// Where the warm-up starts, as a share of the peak.
const START: f64 = 0.04;

/// The learning rate at `progress` through the run, from 0 to 1.
pub(crate) fn learning_rate(spec: &ModelSpec, progress: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    let factor = match spec.schedule {
        Schedule::Constant => 1.0,
        Schedule::Step => 0.1_f64.powi((progress * 3.0).floor().min(2.0) as i32),
        Schedule::Cosine if progress < WARM_UP => START + (1.0 - START) * progress / WARM_UP,
        Schedule::Cosine => 0.5 * (1.0 + (PI * (progress - WARM_UP) / (1.0 - WARM_UP)).cos()),
    };
    spec.learning_rate * factor
}

#[cfg(test)]
mod tests {
    use tusk_core::spec::Architecture;

    use super::*;

    #[test]
    fn one_cycle_rises_to_the_peak_and_falls_to_nothing() {
        let spec = ModelSpec { learning_rate: 0.1, ..ModelSpec::new(Architecture::CNN) };
        let rates: Vec<f64> = (0..=100).map(|i| learning_rate(&spec, f64::from(i) / 100.0)).collect();
        assert!((rates[0] - 0.004).abs() < 1e-12 && (rates[20] - 0.1).abs() < 1e-12 && rates[100] < 1e-12);
        assert!(rates[..21].is_sorted() && rates[20..].iter().rev().is_sorted());
    }

    #[test]
    fn steps_divide_by_ten_after_each_third() {
        let spec = ModelSpec { learning_rate: 1.0, schedule: Schedule::Step, ..ModelSpec::new(Architecture::CNN) };
        let rates = [0.0, 0.32, 0.34, 0.67, 1.0].map(|p| learning_rate(&spec, p));
        assert!(rates.iter().zip([1.0, 1.0, 0.1, 0.01, 0.01]).all(|(a, b)| (a - b).abs() < 1e-12), "{rates:?}");
    }
}
