//! Encoded bytes to pixels.

use super::formats::Format;
use super::{Channels, DecodeError, Pixels};

/// What an image's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageInfo {
    /// Columns of the picture as it is shown, that is, after its Exif orientation was applied.
    pub width: u32,
    /// Rows of the picture as it is shown.
    pub height: u32,
    /// Samples per pixel in the file, alpha included: 1 grey, 2 grey and alpha, 3 colour (a palette too), 4 colour and
    /// alpha, or CMYK.
    pub channels: u8,
    /// Bits per sample in the file; of a palette picture, bits per index.
    pub bit_depth: u8,
    /// Frames that [`decode_frame`] gives, at least 1. Of an animated GIF that was read only in part, those that begin
    /// in that part.
    pub frames: u32,
    /// The format's name in SQL: "jpeg", "png", ...
    pub format: &'static str,
}

/// Reads an image's header and decodes no pixel.
///
/// # Errors
/// As [`decode`], but for what only the pixel data show: a file that is cut off behind its header passes.
pub fn probe(bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
    Format::of(bytes)?.header(bytes)
}

/// Decodes an image into 8-bit pixels with the wanted channels.
///
/// - The format is taken from the bytes: JPEG (grey, colour, CMYK, progressive), PNG, BMP, TIFF (first page), WebP, GIF
///   (first frame).
/// - The Exif orientation is applied, so that the picture stands as its viewer saw it.
/// - Alpha is composited on black. Radiographs are black where nothing was exposed, and padding added around one should
///   look like that; what lies hidden under transparent pixels is undefined and often white.
/// - 16-bit samples keep their upper 8 bits (`v >> 8`), as libpng's `png_set_strip_16` and OpenCV do. A 12-bit
///   radiograph stored in 16 bits without scaling comes out dark: window it before.
/// - Float samples are taken as 0.0 to 1.0 and rounded.
/// - Grey from colour is ITU-R 601 luma, see [`Pixels::into_channels`].
///
/// # Errors
/// [`DecodeError`] says what is wrong with the bytes. A truncated file is an error even where a part of the picture
/// could be shown.
pub fn decode(bytes: &[u8], channels: Channels) -> Result<Pixels, DecodeError> {
    decode_frame(bytes, 0, channels)
}

/// Decodes a frame of an image as [`decode`] does the first. Frames count from 0; [`ImageInfo::frames`] says how many
/// there are.
///
/// # Errors
/// As [`decode`], and [`DecodeError::NoFrame`] for a frame that the file does not have.
pub fn decode_frame(bytes: &[u8], frame: u32, channels: Channels) -> Result<Pixels, DecodeError> {
    let decoded = Format::of(bytes)?.pixels(bytes, frame)?;
    Ok(decoded.into_pixels().into_channels(channels))
}

/// Decodes an image as [`decode`] does, with the channels it is stored in: grey where the file is grey (alpha aside),
/// colour otherwise.
///
/// # Errors
/// As [`decode`].
pub fn decode_as_stored(bytes: &[u8]) -> Result<Pixels, DecodeError> {
    Ok(Format::of(bytes)?.pixels(bytes, 0)?.into_pixels())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
