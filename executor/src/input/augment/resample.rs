//! Reduced, and interpolated to the same size.

use tch::Tensor;
use tusk_core::augment::resample::FACTOR;

use super::{Draw, chosen};
use crate::error::Result;

/// How far from a pixel the pixels are that it is made from. It lies between the middles of two reduced pixels, so these end at
/// most one and a half of their length from its middle.
const REACH: i64 = (1.5 * FACTOR + 0.5) as i64;

/// Reduces the images that have a reduction and interpolates them to the same size.
pub(super) fn resampled(mut x: Tensor, draws: &[Draw]) -> Result<Tensor> {
    let reduction = |draw: &Draw| (draw.reduction > 1.0).then_some(draw.reduction);
    let Some((places, reductions)) = chosen(draws, x.device(), reduction)? else { return Ok(x) };
    let side = x.size()[3];
    let weights: Vec<f32> = reductions.iter().flat_map(|reduction| weights(side, *reduction)).collect();
    let weights = Tensor::f_from_slice(&weights)?.f_view([-1, 2 * REACH + 1, side])?.f_to(x.device())?;
    let images = along(&along(&x.f_index_select(0, &places)?, 3, &weights)?, 2, &weights)?;
    drop(x.f_index_copy_(0, &places, &images)?);
    Ok(x)
}

/// Replaces each pixel by a weighted sum of the pixels around it along an axis. It sums shifted copies, because the rounding
/// of libtorch's products of matrices depends on the other images of the batch. `weights` is `[n, 2 * REACH + 1, side]`.
fn along(x: &Tensor, axis: usize, weights: &Tensor) -> Result<Tensor> {
    let side = x.size()[axis];
    let mut shape = [x.size()[0], 1, 1, 1];
    shape[axis] = side;
    let around = x.f_replication_pad2d(if axis == 3 { [REACH, REACH, 0, 0] } else { [0, 0, REACH, REACH] })?;
    let term = |tap: i64| -> Result<Tensor> {
        let weights = weights.f_select(1, tap)?.f_reshape(shape)?;
        Ok(around.f_narrow(axis as i64, tap, side)?.f_mul(&weights)?)
    };
    let mut sum = term(0)?;
    for tap in 1..=2 * REACH {
        sum = sum.f_add_(&term(tap)?)?;
    }
    Ok(sum)
}

/// Returns the weights of the pixels from [`REACH`] before each pixel to `REACH` behind it, `[2 * REACH + 1, side]`: those of
/// linear interpolation between reduced pixels, each of which is the mean of the part of the row that it covers.
fn weights(side: i64, reduction: f64) -> Vec<f32> {
    let count = (side as f64 / reduction).ceil();
    let length = side as f64 / count;
    let share = |reduced: f64, pixel: f64| {
        let (start, end) = (pixel.max(reduced * length), (pixel + 1.0).min((reduced + 1.0) * length));
        (end - start).max(0.0) / length
    };
    let weight = |tap: i64, pixel: i64| {
        let middle = ((pixel as f64 + 0.5) / length - 0.5).clamp(0.0, count - 1.0);
        let (before, fraction, source) = (middle.floor(), middle.fract(), (pixel + tap) as f64);
        ((1.0 - fraction) * share(before, source) + fraction * share(before + 1.0, source)) as f32
    };
    let (weight, taps) = (&weight, -REACH..=REACH);
    taps.flat_map(|tap| (0..side).map(move |pixel| weight(tap, pixel))).collect()
}

#[cfg(test)]
mod tests {
    use tusk_core::augment::resample::TRANSFORM;

    use super::super::testing::changed;

    const SIDE: usize = 60;

    /// A row of `count` reduced pixels: differences of the integral of the row.
    fn reduced(row: &[f64], count: usize) -> Vec<f64> {
        let length = row.len() as f64 / count as f64;
        let integral = |to: f64| {
            let whole = (to + 1e-9).floor() as usize;
            row[..whole].iter().sum::<f64>() + row.get(whole).unwrap_or(&0.0) * (to - whole as f64)
        };
        (0..count).map(|i| (integral((i + 1) as f64 * length) - integral(i as f64 * length)) / length).collect()
    }

    /// Linear interpolation to `SIDE` pixels. Beyond the outer pixels, their values are repeated.
    fn interpolated(row: &[f64]) -> Vec<f64> {
        let value = |i: usize| {
            let place = (i as f64 + 0.5) * row.len() as f64 / SIDE as f64 - 0.5;
            let place = place.clamp(0.0, row.len() as f64 - 1.0);
            let before = place.floor() as usize;
            let behind = (before + 1).min(row.len() - 1);
            row[before] + (row[behind] - row[before]) * place.fract()
        };
        (0..SIDE).map(value).collect()
    }

    fn turned(image: &[f64]) -> Vec<f64> {
        (0..SIDE * SIDE).map(|i| image[i % SIDE * SIDE + i / SIDE]).collect()
    }

    fn mean(image: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = image.len() as f64;
        image.sum::<f64>() / count
    }

    #[test]
    fn an_image_is_interpolated_from_means_of_areas() {
        let image: Vec<u8> = (0..SIDE * SIDE).map(|i| ((i * 7919) % 101 + i / 40) as u8).collect();
        let levels: Vec<f64> = image.iter().map(|level| f64::from(*level) / 255.0).collect();
        for (changed, draw) in changed(TRANSFORM, &image, SIDE) {
            let count = (SIDE as f64 / draw.reduction).ceil() as usize;
            let rows = |image: &[f64]| -> Vec<f64> {
                image.chunks_exact(SIDE).flat_map(|row| interpolated(&reduced(row, count))).collect()
            };
            let wanted = turned(&rows(&turned(&rows(&levels))));
            for (found, wanted) in changed.iter().zip(wanted) {
                assert!((f64::from(*found) - wanted).abs() < 1e-5, "{found}, not {wanted}, at {}", draw.reduction);
            }
        }
    }

    #[test]
    fn a_lower_resolution_keeps_the_mean_and_has_less_detail() {
        let image: Vec<u8> = (0..SIDE * SIDE).map(|i| ((i * 7919) % 101 + i / 40) as u8).collect();
        let detail = |image: &[f64]| mean(image.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
        let levels: Vec<f64> = image.iter().map(|level| f64::from(*level) / 255.0).collect();
        for (changed, draw) in changed(TRANSFORM, &image, SIDE) {
            let changed: Vec<f64> = changed.into_iter().map(f64::from).collect();
            let [before, after] = [&levels, &changed].map(|image| mean(image.iter().copied()));
            assert!((before - after).abs() < 0.001, "{after}, not {before}, at {}", draw.reduction);
            let kept = detail(&changed) / detail(&levels);
            assert!(draw.reduction < 1.2 || kept < 0.8, "{kept} of the detail, at {}", draw.reduction);
            assert!(draw.reduction < 2.0 || kept < 0.4, "{kept} of the detail, at {}", draw.reduction);
        }
    }

    #[test]
    fn a_flat_image_stays_as_it_is() {
        for (changed, draw) in changed(TRANSFORM, &[102; SIDE * SIDE], SIDE) {
            assert!(changed.iter().all(|level| (level - 0.4).abs() < 1e-6), "at {}", draw.reduction);
        }
    }
}
