//! Changes by how an image was saved.

use super::super::{DecodeError, Filter, Pixels, PixelsError, decode, encode, resize, resize_with};

/// The quality of the saved JPEG, of 1 to 100.
const QUALITY: u8 = 25;

/// Saves an image as a JPEG of low quality and decodes it again.
pub(super) fn jpeg(pixels: &Pixels) -> Result<Pixels, PixelsError> {
    let unreadable = |error: DecodeError| PixelsError::Backend { task: "decoded", reason: error.to_string() };
    decode(&file(pixels)?, pixels.channels).map_err(unreadable)
}

fn file(pixels: &Pixels) -> Result<Vec<u8>, PixelsError> {
    encode(pixels, "jpeg", QUALITY)
}

/// Resizes an image to half of each side, at least one pixel, and back.
pub(super) fn coarse(pixels: &Pixels) -> Result<Pixels, PixelsError> {
    let half = resize(pixels, pixels.width.div_ceil(2), pixels.height.div_ceil(2))?;
    resize_with(&half, pixels.width, pixels.height, Filter::Bicubic)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Channels, probe};
    use super::*;

    fn checkered(side: usize) -> Pixels {
        let data = (0..side * side).map(|at| if (at % side + at / side).is_multiple_of(2) { 255 } else { 0 }).collect();
        Pixels::new(side as u32, side as u32, Channels::Grey, data).unwrap()
    }

    #[test]
    fn the_jpeg_has_the_quality_of_the_manual() {
        assert_eq!(probe(&file(&checkered(16)).unwrap()).unwrap().quality, Some(25));
        let uniform = Pixels::new(9, 7, Channels::Grey, vec![90; 63]).unwrap();
        assert!(jpeg(&uniform).unwrap().data.iter().all(|level| level.abs_diff(90) <= 3));
    }

    #[test]
    fn a_coarse_image_loses_its_finest_detail_only() {
        assert!(coarse(&checkered(8)).unwrap().data.iter().all(|level| (100..=155).contains(level)));
        let halves = (0..64 * 64).map(|at| if at % 64 < 32 { 40 } else { 200 }).collect();
        let halves = Pixels::new(64, 64, Channels::Grey, halves).unwrap();
        let changed = coarse(&halves).unwrap();
        assert!([0, 16, 48, 63].iter().all(|at| changed.data[*at].abs_diff(halves.data[*at]) <= 1), "{changed:?}");
    }
}
