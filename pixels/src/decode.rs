//! Decodes encoded images into pixels.

use super::formats::Format;
use super::{Channels, DecodeError, Pixels};

/// The properties in the header of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageInfo {
    /// Width in pixels, after the Exif orientation is applied.
    pub width: u32,
    /// Height in pixels, after the Exif orientation is applied.
    pub height: u32,
    /// Samples per pixel in the file, alpha included: 1 grey, 2 grey and alpha, 3 colour (a palette too), 4 colour and
    /// alpha, or CMYK.
    pub channels: u8,
    /// Bits per sample in the file. For a palette image, bits per index.
    pub bit_depth: u8,
    /// Number of frames, at least 1. If only the first part of an animated GIF was read, the frames that begin in that
    /// part.
    pub frames: u32,
    /// The name of the format in SQL: "jpeg", "png", ...
    pub format: &'static str,
    /// The quality of a JPEG, from 1 to 100: the one at which libjpeg has the nearest quantization table. `None` for other
    /// formats.
    pub quality: Option<u8>,
}

/// Reads the header of an image without decoding pixels.
///
/// # Errors
/// The same as [`decode`], except for errors in the pixel data: a file that is truncated after its header is accepted.
pub fn probe(bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
    Format::of(bytes)?.header(bytes)
}

/// Decodes an image into 8-bit pixels with the given channels.
///
/// - The format is detected from the bytes: JPEG (grey, colour, CMYK, progressive), PNG, BMP, TIFF (first page), WebP,
///   GIF (first frame).
/// - The Exif orientation is applied.
/// - Alpha is composited on black. Radiographs are black where nothing was exposed, and padding should look the same.
///   The colour of transparent pixels is undefined and often white.
/// - 16-bit samples keep their upper 8 bits (`v >> 8`), as libpng's `png_set_strip_16` and OpenCV do. A 12-bit
///   radiograph stored in 16 bits without scaling becomes dark, so scale it first.
/// - Float samples are expected in 0.0 to 1.0 and rounded.
/// - Colour is converted to grey as ITU-R 601 luma, see [`Pixels::into_channels`].
///
/// # Errors
/// Returns a [`DecodeError`]. A truncated file is an error even if a part of the image could be decoded.
pub fn decode(bytes: &[u8], channels: Channels) -> Result<Pixels, DecodeError> {
    decode_frame(bytes, 0, channels)
}

/// Decodes one frame of an image, like [`decode`]. Frames are numbered from 0 to [`ImageInfo::frames`] - 1.
///
/// # Errors
/// As [`decode`], and [`DecodeError::NoFrame`] if the file does not have the frame.
pub fn decode_frame(bytes: &[u8], frame: u32, channels: Channels) -> Result<Pixels, DecodeError> {
    let decoded = Format::of(bytes)?.pixels(bytes, frame)?;
    Ok(decoded.into_pixels().into_channels(channels))
}

/// Decodes an image like [`decode`], with its stored channels: grey for a grey file (with or without alpha), else
/// colour.
///
/// # Errors
/// As [`decode`].
pub fn decode_as_stored(bytes: &[u8]) -> Result<Pixels, DecodeError> {
    Ok(Format::of(bytes)?.pixels(bytes, 0)?.into_pixels())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
