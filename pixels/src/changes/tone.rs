//! Changes of the levels of an image, each by a table.

use super::super::{Pixels, PixelsError};

/// Raises levels, divided by 255, to a power. A power above 1 makes the image darker.
pub(super) fn gamma(pixels: &Pixels, power: f64) -> Result<Pixels, PixelsError> {
    mapped(pixels, |level| 255.0 * (level / 255.0).powf(power))
}

/// Multiplies the distance of levels from the mid grey, 127.5.
pub(super) fn contrast(pixels: &Pixels, factor: f64) -> Result<Pixels, PixelsError> {
    mapped(pixels, |level| 127.5 + factor * (level - 127.5))
}

fn mapped(pixels: &Pixels, curve: impl Fn(f64) -> f64) -> Result<Pixels, PixelsError> {
    pixels.check()?;
    let table: [u8; 256] = std::array::from_fn(|level| curve(level as f64).round().clamp(0.0, 255.0) as u8);
    let data = pixels.data.iter().map(|level| table[usize::from(*level)]).collect();
    Ok(Pixels { data, ..*pixels })
}

#[cfg(test)]
mod tests {
    use super::super::super::Channels;
    use super::*;

    fn levels(changed: Result<Pixels, PixelsError>) -> Vec<u8> {
        changed.unwrap().data
    }

    #[test]
    fn gamma_keeps_black_and_white() {
        let image = Pixels::new(3, 1, Channels::Grey, vec![0, 128, 255]).unwrap();
        assert_eq!(levels(gamma(&image, 1.4)), [0, 97, 255]);
        assert_eq!(levels(gamma(&image, 1.0 / 1.4)), [0, 156, 255]);
        assert_eq!(gamma(&image, 1.0).unwrap(), image);
    }

    #[test]
    fn low_contrast_pulls_levels_to_the_mid_grey() {
        let image = Pixels::new(1, 1, Channels::Rgb, vec![0, 128, 255]).unwrap();
        assert_eq!(levels(contrast(&image, 0.7)), [38, 128, 217]);
        assert_eq!(contrast(&image, 1.0).unwrap(), image);
    }
}
