//! A square is replaced, after normalisation.

use tch::{Kind, Tensor};

use super::Draw;
use crate::error::Result;

/// Replaces the square of each image by the mean level, which is 0.
pub(super) fn cut_out(mut x: Tensor, draws: &[Draw]) -> Result<Tensor> {
    let squares = squares(&x, draws)?;
    Ok(x.f_masked_fill_(&squares, 0.0)?)
}

/// Returns the mask of the squares that are cut out, `[n, 1, side, side]`.
fn squares(x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
    let device = x.device();
    let places = Tensor::f_arange(x.size()[3], (Kind::Int64, device))?;
    let within = |start: fn(&Draw) -> usize, shape: &[i64]| -> Result<Tensor> {
        let starts: Vec<i64> = draws.iter().map(|draw| start(draw) as i64).collect();
        let ends: Vec<i64> = draws.iter().map(|draw| (start(draw) + draw.cutout.2) as i64).collect();
        let [starts, ends] = [starts, ends].map(|bounds| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(&bounds)?.f_to(device)?.f_view([-1, 1, 1, 1])?)
        });
        let places = places.f_view(shape)?;
        Ok(places.f_ge_tensor(&starts?)?.f_logical_and(&places.f_lt_tensor(&ends?)?)?)
    };
    let columns = within(|draw| draw.cutout.0, &[1, 1, 1, -1])?;
    let rows = within(|draw| draw.cutout.1, &[1, 1, -1, 1])?;
    Ok(rows.f_logical_and(&columns)?)
}
