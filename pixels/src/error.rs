//! The errors of this crate.

use super::{MAX_PIXELS, SIDE_MAX};

/// An error from decoding an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value is NULL.
    #[error("the image is NULL")]
    Null,
    /// Zero bytes.
    #[error("the image is empty (0 bytes); the file was probably not copied completely")]
    Empty,
    /// The format is not supported.
    #[error(
        "unsupported image format; Tusk reads {}. The first bytes are {first_bytes}{hint}",
        super::formats::alternatives(&super::formats::labels())
    )]
    UnknownFormat {
        /// The first bytes in hexadecimal, at most 8.
        first_bytes: String,
        /// A guess of what the bytes are: empty or " (...)".
        hint: &'static str,
    },
    /// The file ends before the image is complete.
    #[error("the {format} image is truncated after {length} bytes ({reason}); copy or download the file again")]
    Truncated {
        /// The format.
        format: &'static str,
        /// Length of the data in bytes.
        length: usize,
        /// What is missing.
        reason: String,
    },
    /// The data contradict the format.
    #[error("the {format} image is corrupt: {reason}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// The error of the decoder.
        reason: String,
    },
    /// The variant of the format is not supported.
    #[error("unsupported {format} image: {reason}; convert it to an 8-bit JPEG or PNG")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The error of the decoder.
        reason: String,
    },
    /// The header declares more than [`MAX_PIXELS`] pixels. Nothing was allocated.
    #[error(
        "the {format} image declares {width} x {height} pixels, more than the maximum of {MAX_PIXELS}; if the size is \
         genuine, scale it down first"
    )]
    TooLarge {
        /// The format.
        format: &'static str,
        /// The declared width.
        width: u32,
        /// The declared height.
        height: u32,
    },
    /// The file has fewer frames.
    #[error("the {format} image has no frame {frame}; frames count from 0, and it has {frames}")]
    NoFrame {
        /// The format.
        format: &'static str,
        /// The requested value.
        frame: u32,
        /// The number of frames.
        frames: u32,
    },
    /// The pixels do not fit into memory.
    #[error("not enough memory to decode the {format} image: {bytes} bytes needed")]
    OutOfMemory {
        /// The format.
        format: &'static str,
        /// Size of the decoded samples.
        bytes: u64,
    },
    /// A field of an image struct has an invalid value.
    #[error("invalid image struct: {reason}")]
    Struct {
        /// The field, its value, and the accepted values.
        reason: String,
    },
    /// The decoded image cannot be resampled.
    #[error(transparent)]
    Resample(#[from] PixelsError),
}

/// An error from resampling, encoding or reading a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PixelsError {
    /// A side of zero pixels.
    #[error("width and height must be at least 1, got {width} x {height}")]
    ZeroSide {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The number of samples does not match the sides.
    #[error(
        "an image of {width} x {height} pixels and {channels} channels has {} samples, got {length}",
        u128::from(*width) * u128::from(*height) * *channels as u128
    )]
    WrongLength {
        /// The number of samples.
        length: usize,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Samples per pixel.
        channels: usize,
    },
    /// The image is too large to be resampled or encoded.
    #[error(
        "an image of {width} x {height} pixels is too large; the maximum is {SIDE_MAX} per side and {MAX_PIXELS} pixels"
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// No resampling filter has this name.
    #[error("unknown filter '{name}'; use 'nearest', 'box', 'bilinear', 'bicubic' or 'lanczos'")]
    UnknownFilter {
        /// The requested value.
        name: String,
    },
    /// Images cannot be encoded in this format.
    #[error("unknown format '{format}'; use {}", super::encode::encoded_names())]
    UnknownFormat {
        /// The requested value.
        format: String,
    },
    /// A JPEG quality outside 1 to 100.
    #[error("JPEG quality must be from 1 (smallest file) to 100 (best quality), got {quality}")]
    Quality {
        /// The requested value.
        quality: u8,
    },
    /// The underlying library returned an error.
    #[error("the image could not be {task}: {reason}")]
    Backend {
        /// "resized", "encoded" or "decoded".
        task: &'static str,
        /// The error of the library.
        reason: String,
    },
    /// The column has a type that cannot hold images.
    #[error("a column of type {found} cannot hold images; {}", super::accepted_image_types())]
    ColumnType {
        /// The column's Arrow type.
        found: String,
    },
    /// A struct column lacks a field of Spark's image schema, or has it in another type.
    #[error("the image struct's field '{field}' {problem}; {}", super::accepted_image_types())]
    ColumnField {
        /// Field name.
        field: &'static str,
        /// "is missing" or "has type ...".
        problem: String,
    },
}
