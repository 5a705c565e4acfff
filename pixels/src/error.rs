//! What can be wrong with a picture.

use super::{MAX_PIXELS, SIDE_MAX};

/// Why bytes are not a picture that Tusk can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value is NULL.
    #[error("the image is NULL")]
    Null,
    /// Zero bytes.
    #[error("the image is empty (0 bytes); the file was probably not copied completely")]
    Empty,
    /// The first bytes belong to no format that is read.
    #[error(
        "unsupported image format; Tusk reads {}. The first bytes are {first_bytes}{hint}",
        super::formats::alternatives(&super::formats::labels())
    )]
    UnknownFormat {
        /// The first bytes in hexadecimal, at most 8.
        first_bytes: String,
        /// What the bytes look like, where that is known: empty or " (...)".
        hint: &'static str,
    },
    /// The data end before the picture does.
    #[error("the {format} image is truncated after {length} bytes ({reason}); copy or download the file again")]
    Truncated {
        /// Format by the first bytes.
        format: &'static str,
        /// Bytes there are.
        length: usize,
        /// What was missing.
        reason: String,
    },
    /// The data contradict the format.
    #[error("the {format} image is corrupt: {reason}")]
    Corrupt {
        /// Format by the first bytes.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A variant of the format that is not read.
    #[error("unsupported {format} image: {reason}; convert it to an 8-bit JPEG or PNG")]
    Unsupported {
        /// Format by the first bytes.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The header announces more pixels than are allowed. Nothing was allocated.
    #[error(
        "the {format} image declares {width} x {height} pixels, more than the maximum of {MAX_PIXELS}; if the size is \
         genuine, scale it down first"
    )]
    TooLarge {
        /// Format by the first bytes.
        format: &'static str,
        /// Columns claimed.
        width: u32,
        /// Rows claimed.
        height: u32,
    },
    /// The file has fewer frames.
    #[error("the {format} image has no frame {frame}; frames count from 0, and it has {frames}")]
    NoFrame {
        /// Format by the first bytes.
        format: &'static str,
        /// What was asked for.
        frame: u32,
        /// Frames there are.
        frames: u32,
    },
    /// The pixels do not fit into memory.
    #[error("not enough memory to decode the {format} image: {bytes} bytes needed")]
    OutOfMemory {
        /// Format by the first bytes.
        format: &'static str,
        /// Bytes of the decoder's output.
        bytes: u64,
    },
    /// The field of an image struct holds a value that makes no picture.
    #[error("invalid image struct: {reason}")]
    Struct {
        /// Which field, its value, and what would be right.
        reason: String,
    },
    /// The picture was decoded and cannot be resampled as asked.
    #[error(transparent)]
    Resample(#[from] PixelsError),
}

/// Why pixels cannot be resampled, encoded or read from a column.
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
    /// More samples or fewer than the sides say.
    #[error(
        "an image of {width} x {height} pixels and {channels} channels has {} samples, got {length}",
        u128::from(*width) * u128::from(*height) * *channels as u128
    )]
    WrongLength {
        /// Samples there are.
        length: usize,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Samples per pixel.
        channels: usize,
    },
    /// A side or the area exceeds what is resampled or encoded.
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
        /// What was asked for.
        name: String,
    },
    /// Pictures are not written in this format.
    #[error("unknown format '{format}'; use {}", super::encode::encoded_names())]
    UnknownFormat {
        /// What was asked for.
        format: String,
    },
    /// A JPEG quality outside 1 to 100.
    #[error("JPEG quality must be from 1 (smallest file) to 100 (best quality), got {quality}")]
    Quality {
        /// What was asked for.
        quality: u8,
    },
    /// The library that does the work refused.
    #[error("the image could not be {task}: {reason}")]
    Backend {
        /// "resized" or "encoded".
        task: &'static str,
        /// The library's words.
        reason: String,
    },
    /// The column holds no images.
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
