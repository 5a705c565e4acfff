//! JPEG (ITU-T T.81).
//!
//! An image is decoded in full by the `image` crate, which also reports its errors. The markers (annex B) are read here
//! first, for three things that the decoder does not report: the number of components, the position of the Exif block,
//! and whether the file is complete. The last one matters most: the decoder fills missing parts with grey, and a model
//! could learn from that as if it were a finding.
//!
//! An image that will be resampled to a small square is decoded at a reduced size by libjpeg-turbo: the inverse
//! transform of a block of 8 x 8 pixels can produce 4 x 4, 2 x 2 or 1 pixel directly ("scaled IDCT"). For grey, only
//! the luma plane is decoded.

use std::borrow::Cow;
use std::cell::RefCell;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{ImageEncoder, ImageFormat};
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

use super::{
    Channels, DecodeError, Decoded, Decoder, Encoder, ImageInfo, Pixels, PixelsError, Reduced, check_size, image_crate,
    zeroed,
};

const LABEL: &str = "JPEG";

/// Maximum number of scans of a progressive image. A few kilobytes can contain tens of thousands of scans, each over
/// the whole image.
const SCANS_MAX: u32 = 500;

/// The reductions that libjpeg-turbo has vector code for, the largest first.
const REDUCTIONS: [ScalingFactor; 3] = [ScalingFactor::ONE_EIGHTH, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_HALF];

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// The format.
pub(super) struct Jpeg;

impl Decoder for Jpeg {
    fn name(&self) -> &'static str {
        "jpeg"
    }

    fn label(&self) -> &'static str {
        LABEL
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&[0xFF, 0xD8, 0xFF])
    }

    /// Reads only the markers, because the decoder would copy the whole file and reports three channels for CMYK.
    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        let header = header(bytes)?;
        let (width, height) = header.checked_size()?;
        let (width, height) = image_crate::shown(width, height, header.orientation());
        let JpegHeader { components: channels, bit_depth, .. } = header;
        let quality = header.luminance_table.map(quality_of);
        Ok(ImageInfo { width, height, channels, bit_depth, frames: 1, format: self.name(), quality })
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        // The orientation is known from the markers. The decoder would read the header once more.
        let orientation = complete_orientation(bytes)?;
        image_crate::open(self, ImageFormat::Jpeg, bytes)?.pixels_turned(orientation)
    }

    fn reduced(&self, bytes: &[u8], channels: Channels, side: u32) -> Result<Option<Reduced>, DecodeError> {
        let orientation = complete_orientation(bytes)?;
        Ok(with_decompressor(|decompressor| reduced(decompressor, bytes, channels, side, orientation)))
    }

    fn exif<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        header(bytes).ok()?.exif.map(Cow::Borrowed)
    }

    fn encoder(&self) -> Option<Encoder> {
        Some(Encoder { aliases: &["jpg"], is_lossless: false, write })
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::Jpeg)
    }
}

fn write(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, PixelsError> {
    if !(1..=100).contains(&quality) {
        return Err(PixelsError::Quality { quality });
    }
    image_crate::written(pixels, |bytes, colour| {
        let encoder = JpegEncoder::new_with_quality(bytes, quality);
        encoder.write_image(&pixels.data, pixels.width, pixels.height, colour)
    })
}

/// Checks the size and completeness of an image by its markers and returns its orientation.
fn complete_orientation(bytes: &[u8]) -> Result<Orientation, DecodeError> {
    let header = header(bytes)?;
    header.checked_size()?;
    require_end(bytes, &header)?;
    Ok(header.orientation())
}

/// Calls a function with the decompressor of this thread. After an error, the decompressor is not reused.
fn with_decompressor<T>(work: impl FnOnce(&mut Decompressor) -> Option<T>) -> Option<T> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let mut decompressor = match slot.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().ok()?,
        };
        let result = work(&mut decompressor);
        *slot = result.is_some().then_some(decompressor);
        result
    })
}

/// Returns `None` if libjpeg-turbo reports an error or a warning, so that all errors come from one decoder.
fn reduced(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    channels: Channels,
    side: u32,
    orientation: Orientation,
) -> Option<Reduced> {
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
    let scaled = header.scaled(factor);
    let (width, height, pitch) = (scaled.width, scaled.height, scaled.width * channels.count());
    let format = match channels {
        Channels::Grey => PixelFormat::GRAY,
        Channels::Rgb => PixelFormat::RGB,
    };
    let mut data = zeroed(LABEL, (pitch * height) as u64).ok()?;
    decompressor.decompress(bytes, Image { pixels: &mut data[..], width, pitch, height, format }).ok()?;
    let pixels = Pixels::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, channels, data).ok()?;
    let covered = |pixels: usize| (pixels * factor.num()) as f64 / factor.denom() as f64;
    Some(Reduced { pixels, covered: (covered(header.width), covered(header.height)), orientation })
}

/// The content of the segments before the first scan.
struct JpegHeader<'a> {
    width: u16,
    height: u16,
    components: u8,
    bit_depth: u8,
    /// The TIFF structure inside the Exif segment.
    exif: Option<&'a [u8]>,
    /// The 64 bytes of quantization table 0, which is that of the luminance.
    luminance_table: Option<&'a [u8]>,
    /// Offset of the header of the first scan, after its marker.
    scan: usize,
}

impl JpegHeader<'_> {
    /// Width and height before the orientation is applied.
    fn checked_size(&self) -> Result<(u32, u32), DecodeError> {
        let (width, height) = (u32::from(self.width), u32::from(self.height));
        check_size(LABEL, width, height)?;
        Ok((width, height))
    }

    fn orientation(&self) -> Orientation {
        self.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }
}

/// A marker and the offset after it.
struct Marker {
    code: u8,
    end: usize,
}

/// Finds the next marker at or after `from`. Other bytes before it are skipped, as in libjpeg.
fn next_marker(bytes: &[u8], from: usize) -> Option<Marker> {
    let mut start = from + bytes.get(from..)?.iter().position(|&byte| byte == 0xFF)?;
    // A marker may be preceded by any number of fill bytes 0xFF.
    while *bytes.get(start)? == 0xFF {
        start += 1;
    }
    bytes.get(start).map(|&code| Marker { code, end: start + 1 })
}

/// Returns the content of the segment whose length field is at `at`.
fn segment(bytes: &[u8], at: usize) -> Result<&[u8], DecodeError> {
    let Some(&[high, low]) = bytes.get(at..at + 2) else {
        return Err(truncated(bytes, "a segment has no length"));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(corrupt(format!("the segment at byte {at} has length {length}")));
    }
    bytes.get(at + 2..at + length).ok_or_else(|| truncated(bytes, "a header segment is truncated"))
}

/// Reads the segments up to the first scan.
fn header(bytes: &[u8]) -> Result<JpegHeader<'_>, DecodeError> {
    let mut frame = None;
    let (mut exif, mut luminance_table) = (None, None);
    let mut at = 2;
    while let Some(Marker { code, end }) = next_marker(bytes, at) {
        at = end;
        match code {
            // Stuffing, TEM, restart and start-of-image markers carry no length.
            0x00 | 0x01 | 0xD0..=0xD8 => continue,
            0xD9 => return Err(corrupt("the file ends before the image data".to_string())),
            0xDA => {
                let Some((bit_depth, height, width, components)) = frame else {
                    return Err(corrupt("a scan comes before the frame header".to_string()));
                };
                return Ok(JpegHeader { width, height, components, bit_depth, exif, luminance_table, scan: end });
            }
            _ => {}
        }
        let content = segment(bytes, at)?;
        at += 2 + content.len();
        match code {
            // Start of frame, baseline to arithmetic; C4, C8 and CC are tables and an extension.
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let &[bit_depth, h1, h0, w1, w0, components, ..] = content else {
                    return Err(corrupt("the frame header is too short".to_string()));
                };
                frame = Some((bit_depth, u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]), components));
            }
            0xDB => luminance_table = table_0(content).or(luminance_table),
            0xE1 if exif.is_none() => exif = content.strip_prefix(b"Exif\0\0"),
            _ => {}
        }
    }
    Err(truncated(bytes, "there is no scan"))
}

/// Returns the 8-bit quantization table 0 of a segment, if it has one.
fn table_0(mut tables: &[u8]) -> Option<&[u8]> {
    while let Some((&kind, rest)) = tables.split_first() {
        let length = if kind >> 4 == 0 { 64 } else { 128 };
        if kind == 0 {
            return rest.get(..length);
        }
        tables = rest.get(length..)?;
    }
    None
}

/// The example of a luminance table in ITU-T T.81, K.1, in zigzag order. Most encoders scale it by their quality.
const LUMINANCE: [u8; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
];

/// Returns the quality, from 1 to 100, whose table in libjpeg is nearest.
fn quality_of(table: &[u8]) -> u8 {
    let difference = |quality: &u8| -> u32 {
        let quality = u32::from(*quality);
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let scaled = |base: u8| ((u32::from(base) * scale + 50) / 100).clamp(1, 255);
        LUMINANCE.iter().zip(table).map(|(base, step)| scaled(*base).abs_diff(u32::from(*step))).sum()
    };
    // Of equal ones, the highest: the tables of the best qualities are all ones.
    (1..=100).rev().min_by_key(difference).unwrap_or(1)
}

/// Returns an error if the end-of-image marker is missing.
fn require_end(bytes: &[u8], header: &JpegHeader<'_>) -> Result<(), DecodeError> {
    // Check the common case first. FF D9 cannot occur inside entropy-coded data, where FF is followed by 00 or a
    // restart.
    if bytes.len() >= header.scan + 2 && bytes.ends_with(&[0xFF, 0xD9]) {
        return Ok(());
    }
    let mut at = header.scan;
    at += 2 + segment(bytes, at)?.len();
    while let Some(Marker { code, end }) = next_marker(bytes, at) {
        at = end;
        match code {
            0xD9 => return Ok(()),
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => at += 2 + segment(bytes, at)?.len(),
        }
    }
    Err(truncated(bytes, "there is no end-of-image marker"))
}

fn truncated(bytes: &[u8], reason: &str) -> DecodeError {
    DecodeError::Truncated { format: LABEL, length: bytes.len(), reason: reason.to_string() }
}

fn corrupt(reason: String) -> DecodeError {
    DecodeError::Corrupt { format: LABEL, reason }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::unhex;
    use super::*;

    #[test]
    fn the_quality_is_the_one_that_pillow_was_given() {
        let text = include_str!("../../tests/reference/pillow_quality.txt");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (quality, bytes) = line.split_once(' ').unwrap();
            assert_eq!(Jpeg.header(&unhex(bytes)).unwrap().quality, Some(quality.parse().unwrap()));
        }
    }

    #[test]
    fn a_file_without_a_complete_table_0_has_no_quality() {
        let table = |kind: u8, length: usize| [vec![kind], vec![1; length]].concat();
        assert_eq!(table_0(&table(0, 64)).map(quality_of), Some(100));
        assert_eq!(table_0(&[table(1, 64), table(0, 64)].concat()).map(quality_of), Some(100));
        assert_eq!(table_0(&[table(0x11, 128), table(0, 64)].concat()).map(quality_of), Some(100));
        for incomplete in [table(0, 63), table(1, 64), table(0x10, 128), vec![], table(1, 20)] {
            assert_eq!(table_0(&incomplete), None, "{incomplete:?}");
        }
    }
}
