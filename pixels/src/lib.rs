//! Decoding, resampling, encoding and fixed changes of images, and reading them from Arrow columns.
//!
//! The SQL functions and training share this crate, so both see the same pixels. It is a separate crate so that it can
//! be optimized in every build profile. Input is not trusted: functions return errors and do not panic, and the size in
//! a header is checked against [`MAX_PIXELS`] before anything is allocated.

mod changes;
mod column;
mod decode;
mod decoded;
mod encode;
mod error;
mod formats;
mod intensity;
mod net_input;
mod perceptual_hash;
mod resize;
mod tags;
#[cfg(test)]
mod testing;

pub use changes::{CHANGES, Change, change_named};
pub use column::{ImageColumn, accepted_image_types, image_struct_fields, is_image_type, spark_mode};
pub use decode::{ImageInfo, decode, decode_as_stored, decode_frame, probe};
pub use encode::encode;
pub use error::{DecodeError, PixelsError};
pub use formats::{Encoder, Format, alternatives, labels};
pub use net_input::{decode_input, decode_square};
pub use perceptual_hash::perceptual_hash;
pub use resize::{Filter, SIDE_MAX, resize, resize_with};
pub use tags::{Tags, tags};

/// The maximum number of pixels of an image: 178,956,970.
///
/// This is the limit of Pillow, which warns at 1 GiB / 4 / 3 = 89,478,485 pixels (a quarter of a GiB of 24-bit colour)
/// and refuses at twice that. The largest radiographs are about 20 million pixels.
pub const MAX_PIXELS: u64 = 178_956_970;

/// The channels of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Channels {
    /// One sample: luma.
    Grey,
    /// Three samples, in the order red, green, blue.
    Rgb,
}

impl Channels {
    /// Samples per pixel: 1 or 3.
    pub const fn count(self) -> usize {
        match self {
            Channels::Grey => 1,
            Channels::Rgb => 3,
        }
    }
}

/// A decoded image: 8-bit samples, row by row from the top, channels interleaved (height, width, channels).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pixels {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples per pixel.
    pub channels: Channels,
    /// `height * width * channels` samples, 0 to 255.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Makes an image from its samples.
    ///
    /// # Errors
    /// [`PixelsError::ZeroSide`] and [`PixelsError::WrongLength`] if the number of samples is not `height * width *
    /// channels`.
    pub fn new(width: u32, height: u32, channels: Channels, data: Vec<u8>) -> Result<Self, PixelsError> {
        let pixels = Self { width, height, channels, data };
        pixels.check()?;
        Ok(pixels)
    }

    /// Checks that the sides and the number of samples match. The fields are public, so callers check before they pass
    /// the samples to other libraries.
    fn check(&self) -> Result<(), PixelsError> {
        if self.width == 0 || self.height == 0 {
            return Err(PixelsError::ZeroSide { width: self.width, height: self.height });
        }
        let samples = u64::from(self.width) * u64::from(self.height);
        if samples.checked_mul(self.channels.count() as u64) != Some(self.data.len() as u64) {
            return Err(PixelsError::WrongLength {
                length: self.data.len(),
                width: self.width,
                height: self.height,
                channels: self.channels.count(),
            });
        }
        Ok(())
    }

    /// Converts the image to the given channels: to the luma of the colours, or by repeating the grey level.
    ///
    /// Luma is ITU-R 601 in 16-bit fixed point, `(R * 19595 + G * 38470 + B * 7471 + 0x8000) >> 16`, exactly as in
    /// Pillow's `convert("L")`. A grey image stored as RGB keeps its levels.
    pub fn into_channels(self, channels: Channels) -> Self {
        let data = match (self.channels, channels) {
            (Channels::Grey, Channels::Rgb) => self.data.iter().flat_map(|&level| [level; 3]).collect(),
            (Channels::Rgb, Channels::Grey) => self.data.as_chunks::<3>().0.iter().map(|&rgb| luma(rgb)).collect(),
            _ => self.data,
        };
        Self { channels, data, ..self }
    }
}

/// ITU-R 601 luma as Pillow rounds it.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    // The three weights add up to 65,536, so the sum shifted right by 16 never exceeds 255.
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// Composites a sample on black.
fn on_black(level: u8, alpha: u8) -> u8 {
    ((u16::from(level) * u16::from(alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_equals_that_of_pillow() {
        // Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) of Pillow 13.
        for (colour, level) in [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([12, 200, 99], 132)] {
            assert_eq!(luma(colour), level, "{colour:?}");
        }
        for level in 0..=255 {
            assert_eq!(luma([level; 3]), level);
        }
    }

    #[test]
    fn grey_to_rgb_and_back_gives_the_same_image() {
        let grey = Pixels::new(2, 1, Channels::Grey, vec![7, 250]).unwrap();
        let rgb = grey.clone().into_channels(Channels::Rgb);
        assert_eq!(rgb.data, [7, 7, 7, 250, 250, 250]);
        assert_eq!(rgb.into_channels(Channels::Grey), grey);
    }

    #[test]
    fn samples_that_do_not_match_the_sides_are_refused() {
        let error = Pixels::new(2, 2, Channels::Rgb, vec![0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "an image of 2 x 2 pixels and 3 channels has 12 samples, got 11");
        assert!(matches!(Pixels::new(0, 2, Channels::Rgb, vec![]), Err(PixelsError::ZeroSide { .. })));
    }
}
