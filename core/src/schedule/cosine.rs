//! Linear warm-up, then half a cosine down to zero: one cycle (Smith & Topin 2018, arXiv 1708.07120).

use std::f64::consts::PI;

use super::{Definition, Schedule};

/// `schedule = 'cosine'`.
pub const SCHEDULE: Schedule = Schedule(&Definition { name: "cosine", factor });

/// Share of a run in which the rate warms up.
const WARM_UP: f64 = 0.2;

/// Where the warm-up starts, as a share of the peak.
const START: f64 = 0.04;

fn factor(progress: f64) -> f64 {
    if progress < WARM_UP {
        START + (1.0 - START) * progress / WARM_UP
    } else {
        0.5 * (1.0 + (PI * (progress - WARM_UP) / (1.0 - WARM_UP)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_rises_to_the_peak_and_falls_to_nothing() {
        let factors: Vec<f64> = (0..=100).map(|i| factor(f64::from(i) / 100.0)).collect();
        assert!((factors[0] - 0.04).abs() < 1e-12 && (factors[20] - 1.0).abs() < 1e-12 && factors[100] < 1e-12);
        assert!(factors[..21].is_sorted() && factors[20..].iter().rev().is_sorted());
    }
}
