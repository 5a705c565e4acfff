//! Blurred or sharpened.

use tch::Tensor;

use super::{Draw, chosen, per_image};
use crate::error::Result;

/// Blurs or sharpens the images whose drawn amount is not 0.
pub(super) fn sharpened(x: Tensor, draws: &[Draw]) -> Result<Tensor> {
    let amount = |draw: &Draw| (draw.blur != 0.0).then_some(draw.blur);
    let Some((places, amounts)) = chosen(draws, x.device(), amount)? else { return Ok(x) };
    let amounts = per_image(amounts.into_iter(), x.device())?;
    let images = x.f_index_select(0, &places)?;
    let difference = blurred(&images)?.f_sub_(&images)?.f_mul_(&amounts)?;
    Ok(x.f_index_add(0, &places, &difference)?.f_clamp_(0.0, 1.0)?)
}

/// Blurs images with a Gaussian whose standard deviation is 1.2 % of the side. It sums shifted copies, because the rounding
/// of libtorch's convolution depends on the other images of the batch.
fn blurred(x: &Tensor) -> Result<Tensor> {
    let deviation = 0.012 * x.size()[3] as f64;
    let radius = (2.0 * deviation).floor().max(1.0) as i64;
    let weights: Vec<f64> = (0..=radius).map(|place| (-0.5 * (place as f64 / deviation).powi(2)).exp()).collect();
    let sum = 2.0 * weights.iter().sum::<f64>() - 1.0;
    let along = |x: &Tensor, side: i64, padding: [i64; 4]| -> Result<Tensor> {
        let (around, length) = (x.f_replication_pad2d(padding)?, x.size()[side as usize]);
        let mut blurred = around.f_narrow(side, radius, length)?.f_mul_scalar(1.0 / sum)?;
        for (place, weight) in (0..).zip(&weights).skip(1) {
            let before = around.f_narrow(side, radius - place, length)?;
            let both = before.f_add(&around.f_narrow(side, radius + place, length)?)?;
            blurred = blurred.f_add_(&both.f_mul_scalar(weight / sum)?)?;
        }
        Ok(blurred)
    };
    along(&along(x, 3, [radius, radius, 0, 0])?, 2, [0, 0, radius, radius])
}
