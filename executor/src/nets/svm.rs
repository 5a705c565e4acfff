//! `svm`: a linear support vector machine, one weight per feature of the picture. With `loss = 'hinge'` and weight decay
//! it is the soft-margin machine of Cortes & Vapnik 1995, found by gradient descent as in Pegasos (Shalev-Shwartz et al.
//! 2007); with the other losses it is a logistic or a least-squares classifier of the same features.

use std::f64::consts::PI;

use tch::{Kind, Tensor};
use tusk_core::spec::Features;

use super::layers::Linear;
use super::layout::{Layout, Params};
use super::{Net, Pass};
use crate::error::Result;

/// The machine.
#[derive(Debug)]
pub(crate) struct Svm {
    features: Features,
    fc: Linear,
}

/// Histograms of oriented gradients (Dalal & Triggs 2005): their best figures for 9 orientations without sign, cells of
/// 8 x 8 pixels, and overlapping blocks of 2 x 2 cells, each normalised, clipped at 0.2 and normalised again (L2-Hys).
const ORIENTATIONS: i64 = 9;
const CELL: i64 = 8;
const BLOCK: i64 = 2;
const CLIP: f64 = 0.2;

/// Added to a block's length, so that an empty block stays empty. Gradients are of normalised pixels, about 1.
const EPSILON: f64 = 1e-2;

impl Svm {
    pub(crate) fn new(layout: &mut Layout, features: Features, (channels, side): (i64, i64), outputs: i64) -> Self {
        let count = match features {
            Features::Hog => ORIENTATIONS * BLOCK.pow(2) * (side / CELL - BLOCK + 1).max(0).pow(2),
            Features::Pixels => channels * side * side,
        };
        Self { features, fc: Linear::new(layout, "fc", count, outputs) }
    }
}

impl Net for Svm {
    /// The picture: a linear machine finds nothing before it decides.
    fn features(&self, _params: &Params, x: &Tensor, _pass: Pass) -> Result<Tensor> {
        Ok(x.f_to_kind(Kind::Float)?)
    }

    fn classify(&self, params: &Params, maps: &Tensor, _pass: Pass) -> Result<Tensor> {
        let features = match self.features {
            Features::Hog => hog(maps)?,
            Features::Pixels => maps.shallow_clone(),
        };
        self.fc.forward(params, &features.f_flatten(1, -1)?)
    }
}

/// Pictures `[n, channels, side, side]` to their histograms `[n, 36, blocks]`.
fn hog(x: &Tensor) -> Result<Tensor> {
    let grey = x.f_mean_dim(&[1_i64][..], true, Kind::Float)?;
    let side = grey.size()[2];
    let padded = grey.f_replication_pad2d([1, 1, 1, 1])?;
    let shifted = |dimension, start| padded.f_narrow(5 - dimension, 1, side)?.f_narrow(dimension, start, side);
    let along = |dimension| shifted(dimension, 2)?.f_sub(&shifted(dimension, 0)?);
    let (dx, dy) = (along(3)?, along(2)?);
    let strength = dx.f_square()?.f_add(&dy.f_square()?)?.f_sqrt()?;
    // An angle votes for the two orientations that it lies between; the last is the first one's neighbour.
    let angle = dy.f_atan2(&dx)?.f_remainder(PI)?.f_mul_scalar(ORIENTATIONS as f64 / PI)?;
    let centres = Tensor::f_arange(ORIENTATIONS, (Kind::Float, x.device()))?.f_view([1, -1, 1, 1])?;
    let apart = angle.f_sub(&centres.f_add_scalar(0.5)?)?.f_abs()?;
    let apart = apart.f_minimum(&apart.f_neg()?.f_add_scalar(ORIENTATIONS as f64)?)?;
    let votes = apart.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(0.0)?.f_mul(&strength)?;
    let cells = votes.f_avg_pool2d([CELL, CELL], [CELL, CELL], [0, 0], false, true, None::<i64>)?;
    let blocks = cells.f_im2col([BLOCK, BLOCK], [1, 1], [0, 0], [1, 1])?;
    let normalised = |blocks: &Tensor| -> Result<Tensor> {
        let length = blocks.f_square()?.f_sum_dim_intlist(&[1_i64][..], true, Kind::Float)?;
        Ok(blocks.f_div(&length.f_add_scalar(EPSILON * EPSILON)?.f_sqrt()?)?)
    };
    normalised(&normalised(&blocks)?.f_clamp_max(CLIP)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::session::to_vec;

    /// A ramp that rises in the direction of `angle`, in degrees.
    fn ramp(angle: f64) -> Tensor {
        let places = Tensor::arange(32, (Kind::Float, Device::Cpu));
        let (sin, cos) = angle.to_radians().sin_cos();
        (places.view([1, 1, 1, -1]) * cos + places.view([1, 1, -1, 1]) * sin) * 0.5
    }

    #[test]
    fn the_gradients_of_a_ramp_all_vote_for_its_direction() {
        // The middle of an orientation: 20 degrees each.
        for (orientation, angle) in [(0, 10.0), (4, 90.0), (7, 150.0), (7, 330.0)] {
            let found = hog(&ramp(angle)).unwrap();
            assert_eq!(found.size(), [1, 36, 9]);
            // The middle block sees no border. Its 36 numbers are 9 orientations of 4 cells.
            let middle = to_vec(&found.select(2, 4)).unwrap();
            for (place, value) in middle.iter().enumerate() {
                let wanted = if place / 4 == orientation { 0.5 } else { 0.0 };
                assert!((value - wanted).abs() < 1e-3, "{angle} degrees: {middle:?}");
            }
        }
    }

    #[test]
    fn histograms_do_not_depend_on_exposure_and_an_empty_picture_has_none() {
        let speckled = Tensor::randn([1, 1, 32, 32], (Kind::Float, Device::Cpu));
        let plain = to_vec(&hog(&speckled).unwrap()).unwrap();
        let exposed = to_vec(&hog(&(&speckled * 3.0 + 0.7)).unwrap()).unwrap();
        for (plain, exposed) in plain.iter().zip(&exposed) {
            assert!((plain - exposed).abs() < 1e-3, "{plain} and {exposed}");
        }
        let empty = to_vec(&hog(&speckled.zeros_like()).unwrap()).unwrap();
        assert!(empty.iter().all(|value| *value == 0.0));
    }
}
