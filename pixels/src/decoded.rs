//! The output of decoders: samples of 8 or 16 bits, and their conversion to 8 bits.

use std::ops::RangeInclusive;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};

use super::{Channels, Pixels};

/// A decoded image with the bit depth of its file, row by row from the top, channels interleaved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Decoded {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: Channels,
    /// `height * width * channels` samples.
    pub(super) samples: Samples,
}

/// The samples of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Samples {
    /// 0 to 255.
    U8(Vec<u8>),
    /// Samples that need more than 8 bits.
    U16 {
        data: Vec<u16>,
        /// The levels of black and white. Samples outside are clamped.
        range: RangeInclusive<u16>,
    },
}

/// An image decoded at a fraction of its size, before its orientation is applied.
pub(super) struct Reduced {
    pub(super) pixels: Pixels,
    /// Columns and rows that the image covers, such as 187.5 of 188 pixels if 1500 were reduced to an eighth. The rest
    /// is padding, and must not be resampled with the image.
    pub(super) covered: (f64, f64),
    /// The orientation to apply.
    pub(super) orientation: Orientation,
}

impl Decoded {
    /// Converts the samples to 8 bits. Samples of 16 bits are scaled by their range.
    pub(super) fn into_pixels(self) -> Pixels {
        let data = match self.samples {
            Samples::U8(data) => data,
            Samples::U16 { data, range } => eight_bits(&data, &range),
        };
        Pixels { width: self.width, height: self.height, channels: self.channels, data }
    }

    /// Applies the orientation.
    pub(super) fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let Self { width, height, channels, samples } = self;
        // `from_raw` returns `None` only if there are too few samples.
        let turn = |image: Option<DynamicImage>| {
            let mut image = image.unwrap_or_default();
            image.apply_orientation(orientation);
            (image.width(), image.height(), image)
        };
        let (width, height, samples) = match (samples, channels) {
            (Samples::U8(data), _) => {
                let (width, height, image) = turn(match channels {
                    Channels::Grey => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageLuma8),
                    Channels::Rgb => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
                });
                (width, height, Samples::U8(image.into_bytes()))
            }
            (Samples::U16 { data, range }, Channels::Grey) => {
                let image = ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageLuma16);
                let (width, height, image) = turn(image);
                (width, height, Samples::U16 { data: image.into_luma16().into_raw(), range })
            }
            (Samples::U16 { data, range }, Channels::Rgb) => {
                let image = ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageRgb16);
                let (width, height, image) = turn(image);
                (width, height, Samples::U16 { data: image.into_rgb16().into_raw(), range })
            }
        };
        Self { width, height, channels, samples }
    }
}

impl From<Pixels> for Decoded {
    fn from(Pixels { width, height, channels, data }: Pixels) -> Self {
        Self { width, height, channels, samples: Samples::U8(data) }
    }
}

/// Scales each sample from the range to 0 to 255: `v >> 8` for a range of 16 bits, and `v >> 4` for 12 bits.
fn eight_bits(data: &[u16], range: &RangeInclusive<u16>) -> Vec<u8> {
    let (black, span) = (*range.start(), range.end().saturating_sub(*range.start()));
    match u32::from(span) + 1 {
        // The depth of PNG and TIFF, without a division per sample.
        0x1_0000 => data.iter().map(|sample| (sample >> 8) as u8).collect(),
        levels => {
            let level = |sample: &u16| u32::from(sample.saturating_sub(black).min(span)) * 256 / levels;
            data.iter().map(|sample| level(sample) as u8).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(data: &[u16], range: RangeInclusive<u16>) -> Decoded {
        let samples = Samples::U16 { data: data.to_vec(), range };
        Decoded { width: data.len() as u32, height: 1, channels: Channels::Grey, samples }
    }

    #[test]
    fn sixteen_bits_become_the_upper_eight_of_the_range_in_use() {
        let full = grey(&[0x00FF, 0x0100, 0x7FFF, 0xFFFF], 0..=u16::MAX);
        assert_eq!(full.into_pixels().data, [0, 1, 127, 255]);
        let twelve_bits = grey(&[0x000F, 0x0010, 0x07FF, 0x0FFF], 0..=0x0FFF);
        assert_eq!(twelve_bits.into_pixels().data, [0, 1, 127, 255]);
        let window = grey(&[0, 1000, 1500, 2000, 9000], 1000..=2000);
        assert_eq!(window.into_pixels().data, [0, 0, 127, 255, 255]);
        let flat = grey(&[6, 7, 8], 7..=7);
        assert_eq!(flat.into_pixels().data, [0, 0, 0]);
    }

    #[test]
    fn every_sample_of_sixteen_bits_is_shifted_by_eight() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let shifted: Vec<u8> = all.iter().map(|sample| (sample >> 8) as u8).collect();
        assert_eq!(eight_bits(&all, &(0..=u16::MAX)), shifted);
    }

    #[test]
    fn sixteen_bit_images_are_rotated_like_eight_bit_images() {
        for channels in [Channels::Grey, Channels::Rgb] {
            let count = 2 * 3 * channels.count() as u16;
            let data: Vec<u16> = (0..count).map(|sample| sample << 8).collect();
            let samples = Samples::U16 { data, range: 0..=u16::MAX };
            let deep = Decoded { width: 2, height: 3, channels, samples };
            let flat = Decoded::from(deep.clone().into_pixels());
            for orientation in (1..=8).filter_map(Orientation::from_exif) {
                let deep = deep.clone().turned(orientation).into_pixels();
                assert_eq!(deep, flat.clone().turned(orientation).into_pixels(), "{orientation:?}");
            }
        }
    }
}
