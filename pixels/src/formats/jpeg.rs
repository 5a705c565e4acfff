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
        Ok(ImageInfo { width, height, channels, bit_depth, frames: 1, format: self.name() })
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
    let mut exif = None;
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
                return Ok(JpegHeader { width, height, components, bit_depth, exif, scan: end });
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
            0xE1 if exif.is_none() => exif = content.strip_prefix(b"Exif\0\0"),
            _ => {}
        }
    }
    Err(truncated(bytes, "there is no scan"))
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
