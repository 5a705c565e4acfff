//! Seeded random numbers that are the same on every platform.
//!
//! They use only integer arithmetic, `+ - * /` and square roots, which IEEE 754 defines exactly. `sin`, `exp` and
//! `powf` differ between the C libraries of operating systems.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng as _, SeedableRng};

/// A stream of random numbers that depends only on its key.
pub(super) struct Rng(Pcg64);

impl Rng {
    /// The stream of a key. Equal keys give equal streams. Keys that differ in one number give unrelated streams.
    pub(super) fn new(key: [u64; 4]) -> Self {
        let mixed = key.iter().fold(0, |state: u64, part| mix(state.wrapping_add(mix(*part))));
        Self(Pcg64::seed_from_u64(mixed))
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f32 {
        // An f32 holds 24 bits exactly.
        (self.0.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform between two bounds.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with a probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A whole number in `0..bound`, or 0 if the bound is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// Approximately normal with mean 0 and standard deviation 1, as the sum of four uniform numbers from one draw.
    pub(super) fn normal(&mut self) -> f32 {
        let word = self.0.next_u64();
        let sum: u32 = (0..4).map(|part| ((word >> (16 * part)) & 0xffff) as u32).sum();
        // The sum of four uniform numbers in 0..65536 has mean 131,070 and standard deviation 65,536 / sqrt(3).
        (sum as f32 - 131_070.0) / 37_837.2
    }
}

/// The finalizer of SplitMix64: each input bit changes about half of the output bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_give_equal_streams_and_neighbouring_keys_do_not() {
        let draws = |key| {
            let mut dice = Rng::new(key);
            (0..8).map(|_| dice.unit()).collect::<Vec<_>>()
        };
        assert_eq!(draws([1, 2, 3, 4]), draws([1, 2, 3, 4]));
        for other in [[2, 2, 3, 4], [1, 3, 3, 4], [1, 2, 4, 4], [1, 2, 3, 5], [2, 1, 3, 4]] {
            assert_ne!(draws([1, 2, 3, 4]), draws(other));
        }
    }

    #[test]
    fn normal_draws_have_mean_zero_and_deviation_one() {
        let mut dice = Rng::new([7, 0, 0, 0]);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(dice.normal())).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }
}
