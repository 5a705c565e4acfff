//! Mixup: training on weighted means of two images and of their losses (Zhang et al. 2018, arXiv 1710.09412).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::Tensor;
use tusk_core::random::derive;

use crate::error::Result;

/// The mixing of one batch. The first image is mixed with the last one, the second with the last but one, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixup {
    /// The weight of the image itself, from 0 to 1. Its partner has the weight `1 - own`.
    own: f64,
}

impl Mixup {
    /// Draws the weights of a step from the beta distribution with both parameters `alpha`. Returns `None` if `alpha`
    /// is 0.
    pub(crate) fn draw(alpha: f64, seed: u64, step: &[u64]) -> Option<Self> {
        if alpha <= 0.0 {
            return None;
        }
        let mut rng = Pcg64::seed_from_u64(derive(seed, "mixup", step));
        // Jöhnk 1964. For parameters up to 1 it accepts at least half of the draws.
        loop {
            let [x, y] = [rng.random::<f64>(), rng.random::<f64>()].map(|uniform| uniform.powf(1.0 / alpha));
            if x + y > 0.0 && x + y <= 1.0 {
                return Some(Self { own: x / (x + y) });
            }
        }
    }

    /// Returns the weighted mean of `own` and `partner`. Both are images, or losses for the images' own classes and for
    /// their partners' classes.
    pub(crate) fn mix(self, own: &Tensor, partner: &Tensor) -> Result<Tensor> {
        Ok(own.f_mul_scalar(self.own)?.f_add(&partner.f_mul_scalar(1.0 - self.own)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::layout::to_vec;

    #[test]
    fn weights_follow_the_beta_distribution() {
        for alpha in [0.2, 0.4, 1.0] {
            let weights: Vec<f64> = (0..4000).map(|step| Mixup::draw(alpha, 7, &[step]).unwrap().own).collect();
            let mean = weights.iter().sum::<f64>() / weights.len() as f64;
            let variance = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / weights.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.02, "alpha {alpha}: mean {mean}");
            assert!((variance - expected).abs() < 0.006, "alpha {alpha}: variance {variance}, not {expected}");
        }
        assert!(Mixup::draw(0.0, 7, &[1]).is_none());
        let own = |step| Mixup::draw(0.4, 7, &[step]).unwrap().own.to_bits();
        assert_eq!(own(3), own(3));
        assert_ne!(own(3), own(4));
    }

    #[test]
    fn mixed_values_are_weighted_means() {
        let (own, partner) = ([1.0_f32, -2.0, 0.5, 0.0], [0.25_f32, 4.0, 3.0, -1.0]);
        let mixed = Mixup { own: 0.7 }.mix(&Tensor::from_slice(&own), &Tensor::from_slice(&partner)).unwrap();
        for ((mixed, own), partner) in to_vec(&mixed).unwrap().iter().zip(own).zip(partner) {
            let wanted = 0.7 * own + 0.3 * partner;
            assert!((mixed - wanted).abs() < 1e-6, "{mixed} should be {wanted}");
        }
    }
}
