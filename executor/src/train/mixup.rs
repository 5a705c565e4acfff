//! Mixup: a batch whose images are mixed in pairs, and so are their losses (Zhang et al. 2018, arXiv 1710.09412).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::Tensor;
use tusk_core::random::derive;

use crate::error::Result;

/// How one batch is mixed: each image with the one that stands as far from the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixup {
    /// The share of the image itself.
    own: f64,
}

impl Mixup {
    /// The mixing of a step, drawn from the beta distribution with both parameters `alpha`; `None` where that is 0.
    pub(crate) fn draw(alpha: f64, seed: u64, step: &[u64]) -> Option<Self> {
        if alpha <= 0.0 {
            return None;
        }
        let mut rng = Pcg64::seed_from_u64(derive(seed, "mixup", step));
        // Jöhnk 1964: for parameters up to 1 at least half of the draws are taken.
        loop {
            let [x, y] = [rng.random::<f64>(), rng.random::<f64>()].map(|uniform| uniform.powf(1.0 / alpha));
            if x + y > 0.0 && x + y <= 1.0 {
                return Some(Self { own: x / (x + y) });
            }
        }
    }

    /// The mixed values of a batch: images, or losses of images against their own and their partner's class.
    pub(crate) fn mix(self, own: &Tensor, partner: &Tensor) -> Result<Tensor> {
        Ok(own.f_mul_scalar(self.own)?.f_add(&partner.f_mul_scalar(1.0 - self.own)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::layout::to_vec;

    #[test]
    fn shares_follow_the_beta_distribution() {
        for alpha in [0.2, 0.4, 1.0] {
            let shares: Vec<f64> = (0..4000).map(|step| Mixup::draw(alpha, 7, &[step]).unwrap().own).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / shares.len() as f64;
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
    fn values_are_mixed_by_the_share_of_each() {
        let (own, partner) = ([1.0_f32, -2.0, 0.5, 0.0], [0.25_f32, 4.0, 3.0, -1.0]);
        let mixed = Mixup { own: 0.7 }.mix(&Tensor::from_slice(&own), &Tensor::from_slice(&partner)).unwrap();
        for ((mixed, own), partner) in to_vec(&mixed).unwrap().iter().zip(own).zip(partner) {
            let wanted = 0.7 * own + 0.3 * partner;
            assert!((mixed - wanted).abs() < 1e-6, "{mixed} should be {wanted}");
        }
    }
}
