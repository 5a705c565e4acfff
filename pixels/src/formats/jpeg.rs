//! JPEG (ITU-T T.81).
//!
//! A picture is decoded in full by the `image` crate, which has the last word on what is wrong with a file. Before that
//! the markers (annex B) are read here, for three things that the decoder does not give: the true number of components,
//! where the Exif block lies, and whether the file is complete. The last one matters most: the decoder is lenient and
//! paints what is missing in a uniform grey, and a half-grey radiograph trains a model as if it were a finding.
//!
//! A picture that will be resampled to a small square need not be decoded at full size: the inverse transform of a block
//! of 8 x 8 pixels can give 4 x 4, 2 x 2 or 1 at once (libjpeg's "scaled IDCT"), and the conversion to grey is the luma
//! plane, so colour is not decoded at all. libjpeg-turbo does this.

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

/// Scans of a progressive picture; a few kilobytes can hold tens of thousands of them, each over the whole picture.
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

    /// The markers alone: the decoder would copy the whole file, and reports three channels for CMYK.
    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        let header = header(bytes)?;
        let (width, height) = header.checked_size()?;
        let (width, height) = image_crate::shown(width, height, header.orientation());
        let JpegHeader { components: channels, bit_depth, .. } = header;
        Ok(ImageInfo { width, height, channels, bit_depth, frames: 1, format: self.name() })
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        // To ask the decoder for the orientation would read the header a third time.
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
    fn sample(&self, picture: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(picture, ImageFormat::Jpeg)
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

/// How a picture is to be turned, after a look at all that its markers say: its size, and that it is complete.
fn complete_orientation(bytes: &[u8]) -> Result<Orientation, DecodeError> {
    let header = header(bytes)?;
    header.checked_size()?;
    require_end(bytes, &header)?;
    Ok(header.orientation())
}

/// Lends this thread's decompressor. One that met a broken picture is not used again.
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

/// `None` where libjpeg-turbo refuses or warns, so that one decoder says what is wrong.
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

/// What the segments ahead of the first scan say.
struct JpegHeader<'a> {
    width: u16,
    height: u16,
    components: u8,
    bit_depth: u8,
    /// The TIFF structure inside the Exif segment.
    exif: Option<&'a [u8]>,
    /// Offset of the first scan's header, just behind its marker.
    scan: usize,
}

impl JpegHeader<'_> {
    /// Columns and rows as they are stored.
    fn checked_size(&self) -> Result<(u32, u32), DecodeError> {
        let (width, height) = (u32::from(self.width), u32::from(self.height));
        check_size(LABEL, width, height)?;
        Ok((width, height))
    }

    fn orientation(&self) -> Orientation {
        self.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }
}

/// A marker and the offset behind it.
struct Marker {
    code: u8,
    end: usize,
}

/// The next marker at or after `from`. Whatever stands before it is skipped, as libjpeg does.
fn next_marker(bytes: &[u8], from: usize) -> Option<Marker> {
    let mut start = from + bytes.get(from..)?.iter().position(|&byte| byte == 0xFF)?;
    // A marker may be preceded by any number of fill bytes 0xFF.
    while *bytes.get(start)? == 0xFF {
        start += 1;
    }
    bytes.get(start).map(|&code| Marker { code, end: start + 1 })
}

/// The content of the segment whose length field stands at `at`.
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

/// Refuses a file whose end-of-image marker is missing.
fn require_end(bytes: &[u8], header: &JpegHeader<'_>) -> Result<(), DecodeError> {
    // The common case at once. FF D9 cannot occur inside entropy-coded data, where FF is followed by 00 or a restart.
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
