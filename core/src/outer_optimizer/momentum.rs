//! Momentum on the scheduler: FedAvgM (Hsu, Qi & Brown 2019, arXiv 1909.06335), SlowMo (Wang et al. 2020, arXiv
//! 1910.00643).
//!
//! With the step `d = mean - previous`, the velocity becomes `v = momentum * v + d` and the next version
//! `previous + learning_rate * v`.
//!
//! * **Weights** follow the outer optimizer.
//! * **BatchNorm's running statistics** are averaged and never given momentum: they are estimates, and a step beyond the
//!   mean could make a variance negative.
//! * **The workers' optimizer moments** are averaged.
//! * **The velocity** is part of the state, as `optimizer.outer.NAME`: a resumed run goes on to the bit, and a published
//!   model has none of it.
//! * Where there is nothing to step from (the first mean, whose start only the workers know; a new head after a warm
//!   start) the mean is taken as it is and the velocity is zero.

use super::{Definition, OuterOptimizer, Rates, Rule};
use crate::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX, is_running_statistic};

/// `outer_optimizer = 'momentum'`.
pub const OUTER_OPTIMIZER: OuterOptimizer = OuterOptimizer(&Definition {
    name: "momentum",
    options: &["outer_momentum", "outer_learning_rate"],
    rule: Rule::Step(next_version),
});

/// How the names of velocities start.
const VELOCITY_PREFIX: &str = "optimizer.outer.";

fn next_version(rates: Rates, previous: Option<&ModelState>, mean: &ModelState) -> ModelState {
    ModelState::new(mean.iter().flat_map(|tensor| step(rates, previous, tensor)))
}

/// The next value of a tensor, and its velocity where it has one.
fn step(
    Rates { momentum, learning_rate }: Rates,
    previous: Option<&ModelState>,
    mean: &NamedTensor,
) -> Vec<NamedTensor> {
    if is_running_statistic(&mean.name) || mean.name.starts_with(OPTIMIZER_PREFIX) {
        return vec![mean.clone()];
    }
    let name = format!("{VELOCITY_PREFIX}{}", mean.name);
    let find = |name: &str| previous.and_then(|state| state.get(name)).filter(|tensor| tensor.shape == mean.shape);
    let Some(start) = find(&mean.name) else {
        let velocity = NamedTensor { name, shape: mean.shape.clone(), data: vec![0.0; mean.data.len()] };
        return vec![mean.clone(), velocity];
    };
    let before = find(&name).map_or(&[][..], |velocity| &velocity.data);
    let (mut data, mut velocity) = (Vec::with_capacity(mean.data.len()), Vec::with_capacity(mean.data.len()));
    for (index, (mean, start)) in mean.data.iter().zip(&start.data).enumerate() {
        let (mean, start) = (f64::from(*mean), f64::from(*start));
        // Rounded first: what a resumed run reads is what this one goes on with.
        let next = (momentum * f64::from(before.get(index).copied().unwrap_or(0.0)) + (mean - start)) as f32;
        velocity.push(next);
        data.push((start + learning_rate * f64::from(next)) as f32);
    }
    let shape = mean.shape.clone();
    vec![
        NamedTensor { name: mean.name.clone(), shape: shape.clone(), data },
        NamedTensor { name, shape, data: velocity },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outer_optimizer::tests::state;

    fn rates(momentum: f64, learning_rate: f64) -> Rates {
        Rates { momentum, learning_rate }
    }

    #[test]
    fn momentum_steps_as_computed_by_hand() {
        let rates = rates(0.5, 0.25);
        // Nothing to step from: the mean.
        let first = next_version(rates, None, &state(&[("w", &[1.0, 2.0])]));
        assert_eq!(first, state(&[("w", &[1.0, 2.0]), ("optimizer.outer.w", &[0.0, 0.0])]));
        // d = (4, -2), v = d, w = (1, 2) + v / 4.
        let second = next_version(rates, Some(&first), &state(&[("w", &[5.0, 0.0])]));
        assert_eq!(second, state(&[("w", &[2.0, 1.5]), ("optimizer.outer.w", &[4.0, -2.0])]));
        // d = (0, 4.5), v = (2, -1) + d = (2, 3.5), w = (2, 1.5) + v / 4.
        let third = next_version(rates, Some(&second), &state(&[("w", &[2.0, 6.0])]));
        assert_eq!(third, state(&[("w", &[2.5, 2.375]), ("optimizer.outer.w", &[2.0, 3.5])]));
        assert_eq!(third.without_optimizer(), state(&[("w", &[2.5, 2.375])]));
    }

    #[test]
    fn running_statistics_and_moments_are_averaged_and_a_variance_stays_positive() {
        let rates = rates(0.9, 1.0);
        let mut current = state(&[("bn.running_var", &[4.0]), ("optimizer.exp_avg", &[1.0]), ("w", &[0.0])]);
        // A variance that falls for many epochs: momentum would carry it below zero.
        for epoch in 1..40 {
            let variance = 4.0 * 0.5_f32.powi(epoch);
            let mean = state(&[("bn.running_var", &[variance]), ("optimizer.exp_avg", &[2.0]), ("w", &[1.0])]);
            current = next_version(rates, Some(&current), &mean);
            assert_eq!(current.get("bn.running_var").unwrap().data, [variance]);
            assert_eq!(current.get("optimizer.exp_avg").unwrap().data, [2.0]);
        }
        assert!(current.get("optimizer.outer.bn.running_var").is_none());
        assert!(current.get("optimizer.outer.w").is_some());
    }

    #[test]
    fn a_new_head_starts_at_the_mean() {
        let previous = state(&[("fc.weight", &[9.0])]);
        let next = next_version(rates(0.5, 1.0), Some(&previous), &state(&[("fc.weight", &[1.0, 2.0])]));
        assert_eq!(next, state(&[("fc.weight", &[1.0, 2.0]), ("optimizer.outer.fc.weight", &[0.0, 0.0])]));
    }
}
