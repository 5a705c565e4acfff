//! A gain per frequency band.

use tch::Tensor;
use tusk_core::augment::BANDS;

use super::{Draw, per_image};
use crate::error::Result;

/// Multiplies the levels of the Laplacian pyramid (Burt and Adelson 1983) of each image by its gains.
pub(super) fn with_gains(x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
    let mut bands = Vec::with_capacity(BANDS);
    let mut level = x.shallow_clone();
    for band in 0..BANDS {
        let half = level.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let gains = per_image(draws.iter().map(|draw| draw.gains[band]), x.device())?;
        bands.push(level.f_sub(&twice_as_large(&half)?)?.f_mul_(&gains)?);
        level = half;
    }
    while let Some(band) = bands.pop() {
        level = twice_as_large(&level)?.f_add_(&band)?;
    }
    Ok(level.f_clamp_(0.0, 1.0)?)
}

/// Interpolates images to twice their side.
fn twice_as_large(x: &Tensor) -> Result<Tensor> {
    let side = x.size()[2] * 2;
    Ok(x.f_upsample_bilinear2d([side, side], false, None, None)?)
}
