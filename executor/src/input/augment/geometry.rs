//! Where each pixel comes from.

use tch::{Kind, Tensor};

use super::{Draw, per_image};
use crate::error::Result;

/// Moves the pixels of each image as its draw says.
pub(super) fn moved(x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
    let theta: Vec<f32> = draws.iter().flat_map(|draw| draw.affine).collect();
    let theta = Tensor::f_from_slice(&theta)?.f_view([-1, 2, 3])?.f_to(x.device())?;
    let grid = Tensor::f_affine_grid_generator(&theta, x.size(), false)?;
    // Bilinear interpolation. Outside of the source, half of the images repeat the border and half are black, because both
    // occur in X-rays.
    let mut moved = x.f_grid_sampler(&grid, 0, 1, false)?;
    let inside = grid.f_abs()?.f_amax([-1_i64].as_slice(), false)?.f_le(1.0)?.f_unsqueeze(1)?;
    let has_border = per_image(draws.iter().map(|draw| f32::from(u8::from(draw.has_border))), x.device())?;
    Ok(moved.f_mul_(&has_border.f_maximum(&inside.f_to_kind(Kind::Float)?)?)?)
}
