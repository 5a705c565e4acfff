//! Learning-rate schedules: one file each, one line each in [`SCHEDULES`].
//!
//! A schedule is a factor on the option `learning_rate` that depends on how far the run is, and on nothing else: a run
//! that is resumed goes on with the same rates, whatever was retried.

pub mod constant;
pub mod cosine;
pub mod step;

use crate::registry::registered;

/// Every schedule, in the order of the documentation.
pub const SCHEDULES: &[Schedule] = &[constant::SCHEDULE, step::SCHEDULE, cosine::SCHEDULE];

registered! {
    /// How the learning rate moves over a run: one of [`SCHEDULES`].
    Schedule, Definition, SCHEDULES
}

/// What a schedule is.
struct Definition {
    /// The value of the option `schedule`.
    name: &'static str,
    /// The factor on the learning rate, by the progress of the run from 0 to 1.
    factor: fn(f64) -> f64,
}

impl Schedule {
    /// The factor on the learning rate at `progress` through the run, from 0 to 1. Values outside count as the nearest end.
    #[must_use]
    pub fn factor(self, progress: f64) -> f64 {
        (self.0.factor)(progress.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_written_as_its_name() {
        assert_eq!(Schedule::NAMES, ["constant", "step", "cosine"]);
        for schedule in SCHEDULES {
            let text = serde_json::to_string(schedule).unwrap();
            assert_eq!(text, format!("\"{schedule}\""));
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), *schedule);
            assert_eq!(Schedule::from_name(&schedule.name().to_uppercase()), Some(*schedule));
        }
        assert_eq!(Schedule::from_name("linear"), None);
        let message = serde_json::from_str::<Schedule>("\"Step\"").unwrap_err().to_string();
        assert!(message.contains("unknown variant `Step`") && message.contains("`cosine`"), "{message}");
    }

    #[test]
    fn the_factor_stays_at_the_ends() {
        let factors = [-1.0, 0.0, 1.0, 2.0].map(|progress| step::SCHEDULE.factor(progress));
        assert_eq!(factors, [1.0, 1.0, factors[2], factors[2]]);
        assert!(factors[2] < 1.0);
    }
}
