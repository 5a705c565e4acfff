//! Gains of frequency bands, as the multi-frequency processing of radiography systems applies.

use image::imageops::{blur, fast_blur};
use image::{ImageBuffer, Luma};

use super::super::{Pixels, PixelsError};

/// The standard deviations of the Gaussians between the bands, in pixels of an image of [`SIDE`].
const SCALES: [f32; 5] = [1.5, 3.0, 6.0, 12.0, 24.0];

/// The side to which the scales belong. Those of another image are in proportion to the root of its area.
const SIDE: f64 = 224.0;

/// The standard deviation in pixels from which a Gaussian is approximated by boxes. The boxes have odd radii, so the
/// approximation is poor below. Below, the Gaussian has at most 25 weights, so the time is linear in pixels for every
/// scale.
const BOXES_FROM: f32 = 4.0;

/// The standard deviation in pixels below which a Gaussian changes no level by half a grey level.
const NARROW: f32 = 0.25;

/// The levels of one channel, divided by 255. The boxes clamp floats to 0.0 to 1.0.
type Plane = ImageBuffer<Luma<f32>, Vec<f32>>;

/// Multiplies the bands of an image, the finest first. What is coarser than all bands is kept.
pub(super) fn with_gains(pixels: &Pixels, gains: [f32; 5]) -> Result<Pixels, PixelsError> {
    pixels.check()?;
    let (width, height, count) = (pixels.width, pixels.height, pixels.channels.count());
    let scale = ((f64::from(width) * f64::from(height)).sqrt() / SIDE) as f32;
    let mut data = pixels.data.clone();
    // One channel at a time, because a plane of floats has four bytes per sample.
    for channel in 0..count {
        let at = |x: u32, y: u32| (y as usize * width as usize + x as usize) * count + channel;
        let plane = Plane::from_fn(width, height, |x, y| Luma([f32::from(pixels.data[at(x, y)]) / 255.0]));
        let samples = data.iter_mut().skip(channel).step_by(count);
        for (sample, level) in samples.zip(plane_with_gains(&plane, gains, scale)) {
            *sample = (level * 255.0).round().clamp(0.0, 255.0) as u8;
        }
    }
    Ok(Pixels { data, ..*pixels })
}

/// A band is the difference of two blurred planes, so the sum of all bands is a weighted sum of the blurred planes. A plane
/// with a weight of zero is not computed.
fn plane_with_gains(plane: &Plane, gains: [f32; 5], scale: f32) -> Vec<f32> {
    let mut sum: Vec<f32> = plane.as_raw().iter().map(|level| level * gains[0]).collect();
    let coarser = gains.iter().skip(1).chain(&[1.0]);
    for ((gain, coarser), deviation) in gains.iter().zip(coarser).zip(SCALES) {
        let weight = coarser - gain;
        if weight == 0.0 {
            continue;
        }
        let blurred = blurred(plane, deviation * scale);
        sum.iter_mut().zip(blurred.as_raw()).for_each(|(sum, level)| *sum += weight * level);
    }
    sum
}

fn blurred(plane: &Plane, deviation: f32) -> Plane {
    match deviation {
        narrow if narrow < NARROW => plane.clone(),
        narrow if narrow < BOXES_FROM => blur(plane, deviation),
        _ => fast_blur(plane, deviation),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Channels;
    use super::*;

    fn checkered(square: usize) -> Pixels {
        let level = |at: usize| if (at % 224 / square + at / 224 / square).is_multiple_of(2) { 108 } else { 148 };
        Pixels::new(224, 224, Channels::Grey, (0..224 * 224).map(level).collect()).unwrap()
    }

    /// The levels in the middle of two squares.
    fn middles(pixels: &Pixels, square: usize) -> [i32; 2] {
        let at = 112 / square * square + square / 2;
        [at, at + square].map(|x| i32::from(pixels.data[at * 224 + x]))
    }

    fn assert_near(found: [i32; 2], wanted: [i32; 2]) {
        assert!(found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= 1), "{found:?} {wanted:?}");
    }

    #[test]
    fn gains_of_one_change_nothing() {
        let data = (0..40 * 30 * 3).map(|at| (at * 7 % 256) as u8).collect();
        let image = Pixels::new(40, 30, Channels::Rgb, data).unwrap();
        assert_eq!(with_gains(&image, [1.0; 5]).unwrap(), image);
    }

    #[test]
    fn a_uniform_image_has_no_bands() {
        for (width, height) in [(1, 1), (3, 50), (700, 400)] {
            let image = Pixels::new(width, height, Channels::Grey, vec![77; (width * height) as usize]).unwrap();
            assert_eq!(with_gains(&image, [0.7, 0.2, 1.6, 0.4, 1.5]).unwrap(), image, "{width} x {height}");
        }
    }

    #[test]
    fn the_first_gain_is_that_of_the_finest_detail() {
        let fine = checkered(1);
        assert_near(middles(&fine, 1), [108, 148]);
        assert_near(middles(&with_gains(&fine, [0.5, 1.0, 1.0, 1.0, 1.0]).unwrap(), 1), [118, 138]);
        assert_near(middles(&with_gains(&fine, [1.6, 1.4, 1.2, 1.0, 1.0]).unwrap(), 1), [96, 160]);
        assert_near(middles(&with_gains(&fine, [1.0, 1.0, 0.0, 0.0, 0.0]).unwrap(), 1), [108, 148]);
    }

    #[test]
    fn the_last_gain_is_that_of_large_structures() {
        let large = checkered(56);
        let [dark, bright] = middles(&with_gains(&large, [1.0, 1.0, 1.0, 1.0, 0.0]).unwrap(), 56);
        assert!(bright - dark < 30, "{dark} {bright}");
        let [dark, bright] = middles(&with_gains(&large, [0.0, 1.0, 1.0, 1.0, 1.0]).unwrap(), 56);
        assert_near([dark, bright], [108, 148]);
    }

    #[test]
    fn both_blurs_have_the_same_scale_where_they_meet() {
        let plane = Plane::from_fn(64, 64, |x, _| Luma([if x < 32 { 0.0 } else { 1.0 }]));
        let [exact, boxes] = [blur(&plane, BOXES_FROM), fast_blur(&plane, BOXES_FROM)];
        let worst = exact.as_raw().iter().zip(boxes.as_raw()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.05, "{worst}");
    }
}
