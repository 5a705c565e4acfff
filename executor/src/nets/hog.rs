//! Computes histograms of oriented gradients, as [`Hog`] defines them.

use std::f64::consts::PI;

use tch::{Kind, Tensor};
use tusk_core::nets::Hog;

use crate::error::Result;

/// Added to a block's norm, so that the histogram of a block without gradients is zero. Gradients of normalised pixels
/// are around 1.
const EPSILON: f64 = 1e-2;

/// Computes the histograms `[n, 36, blocks]` of images `[n, channels, side, side]`.
pub(crate) fn hog(x: &Tensor) -> Result<Tensor> {
    let grey = x.f_mean_dim(&[1_i64][..], true, Kind::Float)?;
    let side = grey.size()[2];
    let padded = grey.f_replication_pad2d([1, 1, 1, 1])?;
    let shifted = |dimension, start| padded.f_narrow(5 - dimension, 1, side)?.f_narrow(dimension, start, side);
    let along = |dimension| shifted(dimension, 2)?.f_sub(&shifted(dimension, 0)?);
    let (dx, dy) = (along(3)?, along(2)?);
    let strength = dx.f_square()?.f_add(&dy.f_square()?)?.f_sqrt()?;
    // A gradient counts for the two nearest orientations. Orientations are cyclic: the last is next to the first.
    let angle = dy.f_atan2(&dx)?.f_remainder(PI)?.f_mul_scalar(Hog::ORIENTATIONS as f64 / PI)?;
    let centres = Tensor::f_arange(Hog::ORIENTATIONS, (Kind::Float, x.device()))?.f_view([1, -1, 1, 1])?;
    let distance = angle.f_sub(&centres.f_add_scalar(0.5)?)?.f_abs()?;
    let distance = distance.f_minimum(&distance.f_neg()?.f_add_scalar(Hog::ORIENTATIONS as f64)?)?;
    let votes = distance.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(0.0)?.f_mul(&strength)?;
    let cells = votes.f_avg_pool2d([Hog::CELL; 2], [Hog::CELL; 2], [0, 0], false, true, None::<i64>)?;
    let blocks = cells.f_im2col([Hog::BLOCK; 2], [1, 1], [0, 0], [1, 1])?;
    let normalised = |blocks: &Tensor| -> Result<Tensor> {
        let length = blocks.f_square()?.f_sum_dim_intlist(&[1_i64][..], true, Kind::Float)?;
        Ok(blocks.f_div(&length.f_add_scalar(EPSILON * EPSILON)?.f_sqrt()?)?)
    };
    normalised(&normalised(&blocks)?.f_clamp_max(Hog::CLIP)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tusk_core::nets::{Architecture, Input};
    use tusk_core::options::Features;
    use tusk_core::state::{ModelState, NamedTensor};

    use super::*;
    use crate::nets::layout::to_vec;
    use crate::nets::layout::{Params, normal};
    use crate::nets::{Network, Pass};

    /// A ramp that rises in the direction of `angle`, in degrees.
    fn ramp(angle: f64) -> Tensor {
        let places = Tensor::arange(32, (Kind::Float, Device::Cpu));
        let (sin, cos) = angle.to_radians().sin_cos();
        (places.view([1, 1, 1, -1]) * cos + places.view([1, 1, -1, 1]) * sin) * 0.5
    }

    #[test]
    fn the_gradients_of_a_ramp_count_for_its_direction_only() {
        // These angles are the middles of orientations, which are 20 degrees wide.
        for (orientation, angle) in [(0, 10.0), (4, 90.0), (7, 150.0), (7, 330.0)] {
            let found = hog(&ramp(angle)).unwrap();
            assert_eq!(found.size(), [1, 36, 9]);
            // The middle block does not touch the border. Its 36 numbers are 9 orientations of 4 cells.
            let middle = to_vec(&found.select(2, 4)).unwrap();
            for (place, value) in middle.iter().enumerate() {
                let wanted = if place / 4 == orientation { 0.5 } else { 0.0 };
                assert!((value - wanted).abs() < 1e-3, "{angle} degrees: {middle:?}");
            }
        }
    }

    #[test]
    fn histograms_do_not_depend_on_exposure_and_an_empty_image_has_none() {
        let speckled = Tensor::randn([1, 1, 32, 32], (Kind::Float, Device::Cpu));
        let plain = to_vec(&hog(&speckled).unwrap()).unwrap();
        let exposed = to_vec(&hog(&(&speckled * 3.0 + 0.7)).unwrap()).unwrap();
        for (plain, exposed) in plain.iter().zip(&exposed) {
            assert!((plain - exposed).abs() < 1e-3, "{plain} and {exposed}");
        }
        let empty = to_vec(&hog(&speckled.zeros_like()).unwrap()).unwrap();
        assert!(empty.iter().all(|value| *value == 0.0));
    }

    /// Computes the histograms pixel by pixel, as Dalal & Triggs describe them. Each gradient counts for the two
    /// nearest orientations. `image` has one plane per channel; the result is in the order of the weights of `svm`.
    fn histograms(image: &[f64], side: usize) -> Vec<f64> {
        let channels = image.len() / (side * side);
        let grey = |x: i64, y: i64| {
            let [x, y] = [x, y].map(|place| place.clamp(0, side as i64 - 1) as usize);
            (0..channels).map(|channel| image[(channel * side + y) * side + x]).sum::<f64>() / channels as f64
        };
        let cells = side / 8;
        let mut counts = vec![[0.0; 9]; cells * cells];
        for (y, x) in (0..cells * 8).flat_map(|y| (0..cells * 8).map(move |x| (y, x))) {
            let (column, row) = (x as i64, y as i64);
            let right = grey(column + 1, row) - grey(column - 1, row);
            let down = grey(column, row + 1) - grey(column, row - 1);
            // Orientations are 20 degrees wide, and the middle of the first is at 10 degrees.
            let place = (down.atan2(right).to_degrees().rem_euclid(180.0) - 10.0) / 20.0;
            let share = place - place.floor();
            let count = &mut counts[y / 8 * cells + x / 8];
            for (orientation, share) in [(place.floor(), 1.0 - share), (place.floor() + 1.0, share)] {
                count[orientation.rem_euclid(9.0) as usize] += share * right.hypot(down) / 64.0;
            }
        }
        let mut blocks = Vec::new();
        for (top, left) in (0..cells - 1).flat_map(|top| (0..cells - 1).map(move |left| (top, left))) {
            let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let mut block = places.map(|(below, beside)| counts[(top + below) * cells + left + beside]);
            for limit in [0.2, f64::INFINITY] {
                let length = (block.as_flattened().iter().map(|v| v * v).sum::<f64>() + 0.01 * 0.01).sqrt();
                block.as_flattened_mut().iter_mut().for_each(|value| *value = (*value / length).min(limit));
            }
            blocks.push(block);
        }
        (0..36).flat_map(|place| blocks.iter().map(move |block| block[place % 4][place / 4])).collect()
    }

    /// An image of strong noise and one of faint noise, for which the norm of a block is close to [`EPSILON`]. Returns
    /// both as one tensor `[2, channels, side, side]` and as vectors.
    fn noise(channels: usize, side: usize) -> (Tensor, Vec<Vec<f64>>) {
        let numbers = normal(11, 2 * channels * side * side, 1.0);
        let (strong, faint) = numbers.split_at(channels * side * side);
        let values = [strong.to_vec(), faint.iter().map(|value| 0.01_f32 * value).collect()];
        let shape = [2, channels as i64, side as i64, side as i64];
        let in_f64 = |image: &Vec<f32>| -> Vec<f64> { image.iter().copied().map(f64::from).collect() };
        (Tensor::from_slice(&values.concat()).view(shape), values.iter().map(in_f64).collect())
    }

    #[test]
    fn histograms_agree_with_a_computation_pixel_by_pixel() {
        // 27 pixels are three cells and a remainder that is not used.
        for (channels, side) in [(1, 27), (3, 32)] {
            let (x, images) = noise(channels, side);
            let found = to_vec(&hog(&x).unwrap()).unwrap();
            let wanted: Vec<f64> = images.iter().flat_map(|image| histograms(image, side)).collect();
            assert_eq!(found.len(), wanted.len());
            let clipped = wanted.iter().copied().fold(0.0, f64::max);
            assert!(clipped > 0.2, "something was clipped: {clipped}");
            for (place, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                let difference = (f64::from(*found) - wanted).abs();
                assert!(difference < 1e-4, "{channels} channels, number {place}: {found} should be {wanted}");
            }
        }
    }

    #[test]
    fn outputs_and_gradients_of_a_linear_net_agree_with_a_computation_by_hand() {
        let (side, outputs) = (24, 3);
        let (x, images) = noise(1, side);
        for features in [Features::Hog, Features::Pixels] {
            let seen: Vec<Vec<f64>> = match features {
                Features::Hog => images.iter().map(|image| histograms(image, side)).collect(),
                Features::Pixels => images.clone(),
            };
            let count = seen[0].len();
            let weights = normal(3, outputs * count, 0.1);
            let bias = [0.1_f32, -0.2, 0.3];
            let state = ModelState::new([
                NamedTensor { name: "fc.weight".into(), shape: vec![outputs, count], data: weights.clone() },
                NamedTensor { name: "fc.bias".into(), shape: vec![outputs], data: bias.to_vec() },
            ]);
            let input = Input { channels: 1, side: side as i64, outputs: outputs as i64, features };
            let (net, layout) = Network::new(&(Architecture::SVM.net().unwrap().layers)(&input));
            let params = Params::load(layout, &state, "the test", (Device::Cpu, Kind::Float), "").unwrap();
            let found = net.forward(&params, &x, Pass::Train { seed: 1 }).unwrap();
            let dot = |a: &[f32], b: &[f64]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
            let of = |seen: &Vec<f64>| -> Vec<f64> {
                weights.chunks_exact(count).zip(bias).map(|(row, bias)| dot(row, seen) + f64::from(bias)).collect()
            };
            assert_near(&to_vec(&found).unwrap(), &seen.iter().flat_map(of).collect::<Vec<f64>>());

            let slopes = [[0.5_f32, -1.0, 0.25], [2.0, -0.75, 1.5]];
            (found * Tensor::from_slice(slopes.as_flattened()).view([2, 3])).sum(Kind::Float).backward();
            let [first, second] = slopes.map(|slopes| slopes.map(f64::from));
            let mut wanted = Vec::new();
            for (first, second) in first.into_iter().zip(second) {
                wanted.extend(seen[0].iter().zip(&seen[1]).map(|(a, b)| first * a + second * b));
            }
            wanted.extend(first.into_iter().zip(second).map(|(first, second)| first + second));
            assert_near(&to_vec(&Tensor::cat(&params.gradients().unwrap(), 0)).unwrap(), &wanted);
        }
    }

    fn assert_near(found: &[f32], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() < 1e-4, "{found} should be {wanted}");
        }
    }
}
