//! JPEG at a fraction of its size, by libjpeg-turbo: what training and prediction read.
//!
//! A picture that will be resampled to a small square need not be decoded at full size: the inverse transform of an 8 x 8
//! block can give 4 x 4, 2 x 2 or 1 pixel at once (ITU-T T.81 blocks; libjpeg's "scaled IDCT"), and the conversion to
//! grey is the luma plane, so colour is not decoded at all. What comes out differs from the full decode by about a grey
//! level after resampling (`reduced_pictures_are_those_of_the_full_decode`), and takes half the time.

use std::cell::RefCell;

use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

use super::decode::{decode, is_jpeg, jpeg_orientation, turned};
use super::{Channels, DecodeError, Pixels};

/// Scans of a progressive picture; a few kilobytes can hold tens of thousands of them, each over the whole picture.
const SCANS_MAX: u32 = 500;

/// The reductions that libjpeg-turbo has vector code for, the largest first.
const REDUCTIONS: [ScalingFactor; 3] = [ScalingFactor::ONE_EIGHTH, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_HALF];

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// Decodes a picture that will be resampled to `side` x `side`: as [`decode`] does, but a JPEG may come smaller than it
/// is, by a factor of 2, 4 or 8, with both sides at least `side` pixels long.
///
/// # Errors
/// As [`decode`].
pub fn decode_for(bytes: &[u8], channels: Channels, side: u32) -> Result<Pixels, DecodeError> {
    if is_jpeg(bytes) {
        let orientation = jpeg_orientation(bytes)?;
        if let Some(pixels) = reduced(bytes, channels, side) {
            return Ok(turned(pixels, orientation));
        }
    }
    // Other formats; and JPEGs that libjpeg-turbo does not take or warns of, so that one place says what is wrong.
    decode(bytes, channels)
}

/// `None` where libjpeg-turbo refuses or warns.
fn reduced(bytes: &[u8], channels: Channels, side: u32) -> Option<Pixels> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let mut decompressor = match slot.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().ok()?,
        };
        let pixels = decompress(&mut decompressor, bytes, channels, side);
        // One that met a broken picture is not used again.
        *slot = pixels.is_some().then_some(decompressor);
        pixels
    })
}

fn decompress(decompressor: &mut Decompressor, bytes: &[u8], channels: Channels, side: u32) -> Option<Pixels> {
    let header = decompressor.read_header(bytes).ok()?;
    if header.is_lossless || !matches!(header.colorspace, Colorspace::Gray | Colorspace::YCbCr | Colorspace::RGB) {
        return None;
    }
    let is_enough = |factor: &ScalingFactor| {
        let scaled = header.scaled(*factor);
        scaled.width.min(scaled.height) >= side as usize
    };
    let factor = REDUCTIONS.into_iter().find(is_enough).unwrap_or(ScalingFactor::ONE);
    decompressor.set_scaling_factor(factor).ok()?;
    decompressor.set_scan_limit(SCANS_MAX).ok()?;
    let (width, height) = (header.scaled(factor).width, header.scaled(factor).height);
    let format = match channels {
        Channels::Grey => PixelFormat::GRAY,
        Channels::Rgb => PixelFormat::RGB,
    };
    let pitch = width * channels.count();
    let mut data = Vec::new();
    data.try_reserve_exact(pitch * height).ok()?;
    data.resize(pitch * height, 0);
    decompressor.decompress(bytes, Image { pixels: &mut data[..], width, pitch, height, format }).ok()?;
    Pixels::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, channels, data).ok()
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::super::resize;
    use super::super::testing::{pillow_file, pillow_files, written};
    use super::*;

    fn mean_difference(a: &Pixels, b: &Pixels) -> f64 {
        assert_eq!((a.width, a.height, a.channels), (b.width, b.height, b.channels));
        let sum: u64 = a.data.iter().zip(&b.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.data.len() as f64
    }

    /// Something like a radiograph: soft shadows, ribs with edges, grain; in slightly different colours.
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
    fn reduced_pictures_are_those_of_the_full_decode() {
        let drawn = radiograph(1500, 1201);
        let grey = DynamicImage::ImageLuma8(drawn.to_luma8());
        for (name, bytes) in
            [("colour", written(&drawn, ImageFormat::Jpeg)), ("grey", written(&grey, ImageFormat::Jpeg))]
        {
            for channels in [Channels::Grey, Channels::Rgb] {
                for side in [64, 128, 224, 512] {
                    let reduced = decode_for(&bytes, channels, side).unwrap();
                    assert!(reduced.width.min(reduced.height) >= side && reduced.width < 1500, "{side}");
                    let whole = decode(&bytes, channels).unwrap();
                    let [a, b] = [&reduced, &whole].map(|pixels| resize(pixels, side, side).unwrap());
                    let difference = mean_difference(&a, &b);
                    assert!(difference <= 1.0, "{name} {channels:?} at {side}: {difference} grey levels");
                }
            }
        }
    }

    #[test]
    fn pictures_that_are_too_small_to_be_reduced_come_whole() {
        for file in pillow_files() {
            let (whole, pixels) = match decode(&file.bytes, Channels::Rgb) {
                Ok(whole) => (whole, decode_for(&file.bytes, Channels::Rgb, 224).unwrap()),
                Err(error) => {
                    assert_eq!(decode_for(&file.bytes, Channels::Rgb, 224).unwrap_err(), error, "{}", file.name);
                    continue;
                }
            };
            let difference = mean_difference(&whole, &pixels);
            assert!(difference <= 2.0, "{}: {difference}", file.name);
        }
    }

    #[test]
    fn truncated_and_damaged_pictures_are_refused_or_pictures_but_never_a_panic() {
        for name in ["jpeg-grey", "jpeg-rgb-444", "jpeg-progressive", "jpeg-restart", "jpeg-cmyk", "jpeg-exif-6"] {
            let bytes = pillow_file(name).bytes;
            for length in 0..bytes.len() {
                decode_for(&bytes[..length], Channels::Grey, 8).unwrap_err();
                let mut damaged = bytes.clone();
                damaged[length] ^= 0x55;
                if let Ok(pixels) = decode_for(&damaged, Channels::Grey, 8) {
                    assert_eq!(pixels.data.len(), (pixels.width * pixels.height) as usize, "{name} at {length}");
                }
            }
        }
    }
}
