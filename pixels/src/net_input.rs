//! Decodes images into square net inputs, for training and prediction.
//!
//! Some formats, such as JPEG, can decode to a smaller size directly. This takes half the time, and the result differs
//! by less than a grey level on average from that of full decoding (see the tests).

use tusk_core::manifest::Preprocessing;

use super::decoded::{Decoded, Reduced};
use super::formats::Format;
use super::intensity::change;
use super::resize::{Part, resize_part};
use super::{Channels, DecodeError, Pixels};

/// Decodes an image into the net input of this preprocessing, before normalization.
///
/// # Errors
/// As [`decode_square`].
pub fn decode_input(bytes: &[u8], preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
    let (channels, crop) = (channels(preprocessing), preprocessing.border_crop);
    let mut square = cropped_square(bytes, channels, preprocessing.image_size, crop)?;
    change(&mut square, preprocessing.intensity);
    Ok(square)
}

/// Computes the net input of a decoded image.
pub(super) fn input_of(pixels: Pixels, preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
    let (channels, side) = (channels(preprocessing), preprocessing.image_size);
    let pixels = pixels.into_channels(channels);
    let part = Part::of(&pixels).without_border(preprocessing.border_crop);
    let mut square = resize_part(&pixels, part, side, side)?;
    change(&mut square, preprocessing.intensity);
    Ok(square)
}

fn channels(preprocessing: &Preprocessing) -> Channels {
    if preprocessing.channels == 3 { Channels::Rgb } else { Channels::Grey }
}

/// Decodes an image and resamples it to `side` x `side`, like [`decode`](super::decode()) and
/// [`resize`](super::resize()). A large JPEG is decoded at a half, a quarter or an eighth of its size, as long as
/// neither side falls below `side`.
///
/// # Errors
/// As [`decode`](super::decode()), and [`DecodeError::Resample`] for errors of [`resize`](super::resize()).
pub fn decode_square(bytes: &[u8], channels: Channels, side: u32) -> Result<Pixels, DecodeError> {
    cropped_square(bytes, channels, side, 0.0)
}

/// Like [`decode_square`], after a fraction `crop` of each side is cut off at each border.
fn cropped_square(bytes: &[u8], channels: Channels, side: u32, crop: f64) -> Result<Pixels, DecodeError> {
    let format = Format::of(bytes)?;
    // The remaining part must not be smaller than `side`.
    let whole = (f64::from(side) / (1.0 - 2.0 * crop)).ceil() as u32;
    if let Some(reduced) = format.reduced(bytes, channels, whole)? {
        return square_of(&reduced, side, crop);
    }
    let pixels = format.pixels(bytes, 0)?.into_pixels().into_channels(channels);
    Ok(resize_part(&pixels, Part::of(&pixels).without_border(crop), side, side)?)
}

/// Resamples first and applies the orientation to the square, which is smaller.
fn square_of(reduced: &Reduced, side: u32, crop: f64) -> Result<Pixels, DecodeError> {
    let (columns, rows) = reduced.covered;
    let part = Part { left: 0.0, top: 0.0, columns, rows }.without_border(crop);
    let square = resize_part(&reduced.pixels, part, side, side)?;
    Ok(Decoded::from(square).turned(reduced.orientation).into_pixels())
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::super::decode::decode;
    use super::super::resize::resize;
    use super::super::testing::{pillow_file, pillow_files, written};
    use super::*;

    fn mean_difference(a: &Pixels, b: &Pixels) -> f64 {
        assert_eq!((a.width, a.height, a.channels), (b.width, b.height, b.channels));
        let sum: u64 = a.data.iter().zip(&b.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.data.len() as f64
    }

    /// Decodes in full, then resamples.
    fn full(bytes: &[u8], channels: Channels, side: u32) -> Result<Pixels, DecodeError> {
        Ok(resize(&decode(bytes, channels)?, side, side)?)
    }

    /// A synthetic radiograph: soft shadows, ribs with edges, and noise, in slightly different colours.
    fn radiograph(width: u32, height: u32) -> DynamicImage {
        let mut grain = 0x9E37_79B9_u32;
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
            grain ^= grain << 13;
            grain ^= grain >> 17;
            grain ^= grain << 5;
            let (u, v) = (f64::from(x) / f64::from(width) - 0.5, f64::from(y) / f64::from(height) - 0.5);
            let lung = 90.0 * (-20.0 * ((u.abs() - 0.22).powi(2) + v * v)).exp();
            let rib = if ((v + 0.5 * u * u) * 22.0).fract().abs() < 0.3 { 35.0 } else { 0.0 };
            let level = 140.0 - lung + rib + f64::from(grain % 17) - 8.0;
            image::Rgb([level as u8, (level * 0.97) as u8, (level * 0.9) as u8])
        }))
    }

    #[test]
    fn reduced_decoding_of_large_jpegs_gives_nearly_the_same_squares_as_full_decoding() {
        let drawn = radiograph(1500, 1201);
        let grey = DynamicImage::ImageLuma8(drawn.to_luma8());
        for (name, image) in [("colour", &drawn), ("grey", &grey)] {
            let bytes = written(image, ImageFormat::Jpeg);
            for channels in [Channels::Grey, Channels::Rgb] {
                for side in [64, 128, 224, 512] {
                    let reduced = Format::of(&bytes).unwrap().reduced(&bytes, channels, side).unwrap().unwrap();
                    assert!(reduced.pixels.width < 1500, "{name} at {side} was not reduced");
                    let [a, b] = [decode_square, full].map(|decode| decode(&bytes, channels, side).unwrap());
                    let difference = mean_difference(&a, &b);
                    assert!(difference <= 1.0, "{name} {channels:?} at {side}: {difference} grey levels");
                }
            }
        }
    }

    #[test]
    fn other_images_and_errors_are_the_same_as_with_full_decoding() {
        for file in pillow_files() {
            match (full(&file.bytes, Channels::Rgb, 224), decode_square(&file.bytes, Channels::Rgb, 224)) {
                (Ok(full), Ok(square)) => {
                    let difference = mean_difference(&full, &square);
                    assert!(difference <= 2.0, "{}: {difference} grey levels", file.name);
                }
                (full, square) => assert_eq!(square, full, "{}", file.name),
            }
        }
    }

    #[test]
    fn the_border_is_cut_off_in_every_format() {
        // A frame of a tenth of the side around a ramp.
        let framed = |width: u32, height: u32| {
            DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
                let is_frame = |place: u32, length: u32| place < length / 10 || place >= length - length / 10;
                image::Rgb(if is_frame(x, width) || is_frame(y, height) {
                    [255; 3]
                } else {
                    [(x * 100 / width) as u8; 3]
                })
            }))
        };
        let preprocessing = Preprocessing { border_crop: 0.12, ..Preprocessing::plain(64, 1, 0.0, 1.0) };
        for (width, height) in [(1000, 800), (100, 80)] {
            let image = framed(width, height);
            let stored = Pixels::new(width, height, Channels::Rgb, image.to_rgb8().into_raw()).unwrap();
            let of_pixels = input_of(stored, &preprocessing).unwrap();
            for format in [ImageFormat::Jpeg, ImageFormat::Png] {
                let square = decode_input(&written(&image, format), &preprocessing).unwrap();
                assert!(square.data.iter().all(|level| *level < 110), "{format:?} of {width}: the frame is there");
                assert!(mean_difference(&square, &of_pixels) < 2.0, "{format:?} of {width}");
                let middle = f64::from(square.data[32 * 64 + 32]);
                assert!((middle - 50.0).abs() < 4.0, "{format:?} of {width}: {middle} in the middle");
            }
        }
    }

    #[test]
    fn a_side_of_zero_is_refused() {
        let bytes = written(&radiograph(64, 64), ImageFormat::Jpeg);
        let error = decode_square(&bytes, Channels::Grey, 0).unwrap_err();
        assert_eq!(error.to_string(), "width and height must be at least 1, got 0 x 0");
    }

    #[test]
    fn truncated_and_damaged_files_give_an_error_or_an_image_and_never_a_panic() {
        for name in ["jpeg-grey", "jpeg-rgb-444", "jpeg-progressive", "jpeg-restart", "jpeg-cmyk", "jpeg-exif-6"] {
            let bytes = pillow_file(name).bytes;
            for length in 0..bytes.len() {
                decode_square(&bytes[..length], Channels::Grey, 8).unwrap_err();
                let mut damaged = bytes.clone();
                damaged[length] ^= 0x55;
                if let Ok(pixels) = decode_square(&damaged, Channels::Grey, 8) {
                    assert_eq!(pixels.data.len(), 64, "{name} at {length}");
                }
            }
        }
    }
}
