//! Decodes images into square net inputs, for training and prediction.
//!
//! Some formats, such as JPEG, can decode to a smaller size directly. This takes half the time, and the result differs
//! by less than a grey level on average from that of full decoding (see the tests).

use tusk_core::manifest::Preprocessing;
use tusk_core::options::Resize;

use super::decoded::{Decoded, Reduced};
use super::formats::Format;
use super::intensity::change;
use super::resize::{Part, resize_part};
use super::{Channels, DecodeError, Pixels, PixelsError};

/// Decodes an image into the net input of this preprocessing, before normalization.
///
/// # Errors
/// As [`decode_square`].
pub fn decode_input(bytes: &[u8], preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
    let Preprocessing { image_size, border_crop, resize, .. } = *preprocessing;
    let fitted = decode_fitted(bytes, channels(preprocessing), image_size, Fit { crop: border_crop, resize })?;
    finished(fitted, preprocessing)
}

/// Computes the net input of a decoded image.
pub(super) fn input_of(pixels: Pixels, preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
    let pixels = pixels.into_channels(channels(preprocessing));
    let fit = Fit { crop: preprocessing.border_crop, resize: preprocessing.resize };
    let fitted = fit.resized(&pixels, Part::of(&pixels), preprocessing.image_size)?;
    finished(fitted, preprocessing)
}

/// Adjusts the grey levels and adds black borders.
fn finished(mut fitted: Pixels, preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
    change(&mut fitted, preprocessing.intensity);
    Ok(centred(fitted, preprocessing.image_size)?)
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
    decode_fitted(bytes, channels, side, Fit { crop: 0.0, resize: Resize::Stretch })
}

/// Which part of an image is resized, and whether the ratio of its sides is kept.
#[derive(Clone, Copy)]
struct Fit {
    /// The fraction of each side that is cut off at each border.
    crop: f64,
    resize: Resize,
}

impl Fit {
    /// Resamples a part of an image. The result is a square of this side, or, with [`Resize::Pad`], has it as its longer
    /// side.
    fn resized(self, pixels: &Pixels, part: Part, side: u32) -> Result<Pixels, DecodeError> {
        let part = part.without_border(self.crop);
        let (part, (width, height)) = match self.resize {
            Resize::Stretch => (part, (side, side)),
            Resize::Crop => (part.middle_square(), (side, side)),
            Resize::Pad => (part, part.fitted(side)),
        };
        Ok(resize_part(pixels, part, width, height)?)
    }
}

fn decode_fitted(bytes: &[u8], channels: Channels, side: u32, fit: Fit) -> Result<Pixels, DecodeError> {
    let format = Format::of(bytes)?;
    // The remaining part must not be smaller than `side`.
    let whole = (f64::from(side) / (1.0 - 2.0 * fit.crop)).ceil() as u32;
    if let Some(reduced) = format.reduced(bytes, channels, whole)? {
        return fitted_of(&reduced, side, fit);
    }
    let pixels = format.pixels(bytes, 0)?.into_pixels().into_channels(channels);
    fit.resized(&pixels, Part::of(&pixels), side)
}

/// Resamples first and applies the orientation to the result, which is smaller.
fn fitted_of(reduced: &Reduced, side: u32, fit: Fit) -> Result<Pixels, DecodeError> {
    let (columns, rows) = reduced.covered;
    let fitted = fit.resized(&reduced.pixels, Part { left: 0.0, top: 0.0, columns, rows }, side)?;
    Ok(Decoded::from(fitted).turned(reduced.orientation).into_pixels())
}

/// Centres an image on a black square.
fn centred(pixels: Pixels, side: u32) -> Result<Pixels, PixelsError> {
    if (pixels.width, pixels.height) == (side, side) {
        return Ok(pixels);
    }
    let count = pixels.channels.count();
    let [left, top] = [pixels.width, pixels.height].map(|length| ((side - length) / 2) as usize);
    let (row, square_row) = (pixels.width as usize * count, side as usize * count);
    let mut data = vec![0; square_row * side as usize];
    for (from, to) in pixels.data.chunks_exact(row).zip(data.chunks_exact_mut(square_row).skip(top)) {
        to[left * count..][..row].copy_from_slice(from);
    }
    Pixels::new(side, side, pixels.channels, data)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, RgbImage};
    use tusk_core::options::Intensity;

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
    fn the_ratio_of_the_sides_is_kept_by_padding_and_by_cropping_in_every_format_and_orientation() {
        // A disc on grey, which stays a disc of the same fraction of the longer or the shorter side.
        let disc = |width: u32, height: u32| {
            DynamicImage::ImageLuma8(image::GrayImage::from_fn(width, height, |x, y| {
                let [dx, dy] = [(x, width), (y, height)].map(|(at, of)| f64::from(at) + 0.5 - f64::from(of) / 2.0);
                image::Luma([if dx * dx + dy * dy < 0.09 * f64::from(width.min(height)).powi(2) { 240 } else { 60 }])
            }))
        };
        for (width, height) in [(1000, 700), (700, 1000), (100, 70), (70, 100), (64, 64)] {
            let image = disc(width, height);
            for format in [ImageFormat::Jpeg, ImageFormat::Png] {
                let bytes = written(&image, format);
                let stored = decode(&bytes, Channels::Grey).unwrap();
                let ratio = f64::from(width.min(height)) / f64::from(width.max(height));
                for (resize, diameter, covered) in [(Resize::Pad, 0.6 * ratio, ratio), (Resize::Crop, 0.6, 1.0)] {
                    let preprocessing = Preprocessing { resize, ..Preprocessing::plain(64, 1, 0.0, 1.0) };
                    let square = decode_input(&bytes, &preprocessing).unwrap();
                    assert!(mean_difference(&square, &input_of(stored.clone(), &preprocessing).unwrap()) < 1.0);
                    let count = |is: fn(u8) -> bool| square.data.iter().filter(|level| is(**level)).count() as f64;
                    let what = format!("{resize} of {width} x {height}, {format:?}");
                    let area = std::f64::consts::PI / 4.0 * (64.0 * diameter).powi(2);
                    let light = count(|level| level > 150);
                    assert!((light / area - 1.0).abs() < 0.06, "{what}: the disc has {light} pixels, not {area}");
                    let black = count(|level| level < 15) / 4096.0;
                    assert!((black - (1.0 - covered)).abs() < 0.02, "{what}: {black} of the square is black");
                    let line =
                        |at: fn(usize, usize) -> usize| (0..64).filter(|i| square.data[at(*i, 32)] > 150).count();
                    let (across, down) = (line(|i, j| j * 64 + i), line(|i, j| i * 64 + j));
                    assert!(across.abs_diff(down) <= 1, "{what}: the disc has {across} by {down} pixels");
                }
            }
        }
    }

    #[test]
    fn levels_are_stretched_before_black_borders_are_added() {
        let ramp = image::GrayImage::from_fn(64, 32, |x, _| image::Luma([100 + x as u8]));
        let bytes = written(&DynamicImage::ImageLuma8(ramp), ImageFormat::Png);
        let plain = Preprocessing { resize: Resize::Pad, ..Preprocessing::plain(64, 1, 0.0, 1.0) };
        let square = decode_input(&bytes, &Preprocessing { intensity: Intensity::Stretch, ..plain }).unwrap();
        let row = &square.data[32 * 64..33 * 64];
        assert_eq!((row[0], row[63]), (0, 255), "{row:?}");
        assert!((row[32].abs_diff(128)) < 6, "{row:?}");
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
