//! Outer optimizers: what the scheduler does with the mean of the workers. One file each, one line each in
//! [`OUTER_OPTIMIZERS`].

pub mod average;
pub mod momentum;

use crate::registry::registered;
use crate::state::ModelState;

/// Every outer optimizer, in the order of the documentation.
pub const OUTER_OPTIMIZERS: &[OuterOptimizer] = &[average::OUTER_OPTIMIZER, momentum::OUTER_OPTIMIZER];

registered! {
    /// What the scheduler does with the mean of the workers: one of [`OUTER_OPTIMIZERS`].
    OuterOptimizer, Definition, OUTER_OPTIMIZERS
}

/// What an outer optimizer is.
struct Definition {
    /// The value of the option `outer_optimizer`.
    name: &'static str,
    /// The options that belong to it.
    options: &'static [&'static str],
    rule: Rule,
}

/// What the next version is made from.
enum Rule {
    /// It is the mean.
    Mean,
    /// From the version that the workers started from, where there is one, to the mean of all of them.
    Step(fn(Rates, Option<&ModelState>, &ModelState) -> ModelState),
}

/// The numbers that outer optimizers take from the options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The option `outer_momentum`.
    pub momentum: f64,
    /// The option `outer_learning_rate`.
    pub learning_rate: f64,
}

impl OuterOptimizer {
    /// Whether it looks at the version that the workers started from. It then needs the mean of all workers, too.
    #[must_use]
    pub fn needs_previous(self) -> bool {
        matches!(self.0.rule, Rule::Step(_))
    }

    /// The next version of a model from the mean of its workers and the version that they started from.
    #[must_use]
    pub fn next_version(self, rates: Rates, previous: Option<&ModelState>, mean: ModelState) -> ModelState {
        match self.0.rule {
            Rule::Mean => mean,
            Rule::Step(step) => step(rates, previous, &mean),
        }
    }

    /// The options that belong to it.
    #[must_use]
    pub fn options(self) -> &'static [&'static str] {
        self.0.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NamedTensor;

    pub(super) fn state(tensors: &[(&str, &[f32])]) -> ModelState {
        ModelState::new(tensors.iter().map(|(name, data)| NamedTensor {
            name: (*name).to_owned(),
            shape: vec![data.len()],
            data: data.to_vec(),
        }))
    }

    const RATES: Rates = Rates { momentum: 0.5, learning_rate: 0.5 };

    #[test]
    fn the_average_is_the_mean_to_the_bit() {
        let mean = state(&[("w", &[0.1, -1e-30]), ("bn.running_var", &[0.3]), ("optimizer.step", &[7.0])]);
        let previous = state(&[("w", &[5.0, 5.0])]);
        assert_eq!(average::OUTER_OPTIMIZER.next_version(RATES, Some(&previous), mean.clone()), mean);
    }

    #[test]
    fn every_outer_optimizer_is_written_as_its_name_and_is_the_one_that_steps() {
        assert_eq!(OuterOptimizer::NAMES, ["average", "momentum"]);
        let (previous, mean) = (state(&[("w", &[1.0])]), state(&[("w", &[3.0])]));
        for outer_optimizer in OUTER_OPTIMIZERS.iter().copied() {
            let text = serde_json::to_string(&outer_optimizer).unwrap();
            assert_eq!(text, format!("\"{outer_optimizer}\""));
            assert_eq!(serde_json::from_str::<OuterOptimizer>(&text).unwrap(), outer_optimizer);
            let next = outer_optimizer.next_version(RATES, Some(&previous), mean.clone());
            assert_eq!(next != mean, outer_optimizer.needs_previous(), "{outer_optimizer}");
        }
    }
}
