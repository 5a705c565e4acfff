//! A tenth of the learning rate after each third of the run.

use super::{Definition, Schedule};

/// `schedule = 'step'`.
pub const SCHEDULE: Schedule = Schedule(&Definition { name: "step", factor });

fn factor(progress: f64) -> f64 {
    0.1_f64.powi((progress * 3.0).floor().min(2.0) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_divide_by_ten_after_each_third() {
        let factors = [0.0, 0.32, 0.34, 0.67, 1.0].map(factor);
        assert!(factors.iter().zip([1.0, 1.0, 0.1, 0.01, 0.01]).all(|(a, b)| (a - b).abs() < 1e-12), "{factors:?}");
    }
}
