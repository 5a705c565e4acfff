//! Image formats: one per file, and one line each in [`FORMATS`].

mod bmp;
mod gif;
mod image_crate;
mod jpeg;
mod png;
mod tiff;
mod webp;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::decoded::{Decoded, Reduced};
use super::{Channels, DecodeError, ImageInfo, MAX_PIXELS, Pixels, PixelsError};

/// The supported formats. A file is decoded by the first format that matches its bytes.
pub(super) const FORMATS: &[&dyn Decoder] = &[&jpeg::Jpeg, &png::Png, &bmp::Bmp, &tiff::Tiff, &webp::WebP, &gif::Gif];

/// An image format: how its files are detected, decoded and, for some formats, encoded.
///
/// Files are not trusted. A decoder calls [`check_size`] before it allocates memory for the size in a header.
pub(super) trait Decoder: Sync {
    /// The name in SQL: "jpeg".
    fn name(&self) -> &'static str;

    /// The name in messages: "JPEG".
    fn label(&self) -> &'static str;

    /// Returns whether the bytes have the signature of this format. File names are not used because they are often
    /// wrong.
    fn sniff(&self, bytes: &[u8]) -> bool;

    /// Reads the header without decoding pixels. The bytes may be only the first part of a file.
    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError>;

    /// Decodes a frame, applies its orientation and composites alpha on black. Frames are numbered from 0 to the number
    /// in the header minus one.
    fn pixels(&self, bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError>;

    /// Decodes the first frame at the smallest size that the format supports and whose sides are at least `side`.
    /// Returns `None` if the format or the file does not support reduced decoding.
    fn reduced(&self, _bytes: &[u8], _channels: Channels, _side: u32) -> Result<Option<Reduced>, DecodeError> {
        Ok(None)
    }

    /// Returns the TIFF structure of the Exif tags, without decoding pixels. `None` if the file or the format has none.
    fn exif<'a>(&self, _bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        None
    }

    /// The encoder, or `None` if the format can only be decoded.
    fn encoder(&self) -> Option<Encoder> {
        None
    }

    /// Encodes an 8-bit colour image for the tests of all formats.
    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8>;
}

/// The encoder of a format.
pub struct Encoder {
    /// Other names in SQL.
    pub(super) aliases: &'static [&'static str],
    /// Whether the file decodes to the same pixels.
    pub is_lossless: bool,
    /// Encodes an image with a quality from 1 to 100. Lossless formats ignore the quality.
    pub(super) write: fn(&Pixels, quality: u8) -> Result<Vec<u8>, PixelsError>,
}

/// A format of [`FORMATS`]. All decoding goes through this type.
#[derive(Clone, Copy)]
pub struct Format(&'static dyn Decoder);

impl Format {
    /// Detects the format of a file from its bytes.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        if let Some(&decoder) = FORMATS.iter().find(|format| format.sniff(bytes)) {
            return Ok(Self(decoder));
        }
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let hint = if bytes.trim_ascii_start().starts_with(b"<") {
            " (a web page or XML?)"
        } else if bytes.get(128..132) == Some(b"DICM") {
            " (a DICOM file)"
        } else {
            ""
        };
        Err(DecodeError::UnknownFormat { first_bytes: first.join(" "), hint })
    }

    /// Returns the formats with an encoder, lossless ones first.
    pub fn written() -> Vec<(Self, Encoder)> {
        let mut written: Vec<_> =
            FORMATS.iter().filter_map(|&format| format.encoder().map(|encoder| (Self(format), encoder))).collect();
        written.sort_by_key(|(_, encoder)| !encoder.is_lossless);
        written
    }

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The name in messages.
    pub fn label(self) -> &'static str {
        self.0.label()
    }

    /// See [`Decoder::header`].
    pub(super) fn header(self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        self.guarded(|| self.0.header(bytes))
    }

    /// See [`Decoder::pixels`]; a missing frame is an error.
    pub(super) fn pixels(self, bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError> {
        self.guarded(|| {
            // Every file has a first frame, so the header is read only for later frames.
            let frames = if frame == 0 { 1 } else { self.0.header(bytes)?.frames };
            if frame >= frames {
                return Err(DecodeError::NoFrame { format: self.label(), frame, frames });
            }
            self.0.pixels(bytes, frame)
        })
    }

    /// See [`Decoder::reduced`].
    pub(super) fn reduced(self, bytes: &[u8], channels: Channels, side: u32) -> Result<Option<Reduced>, DecodeError> {
        self.guarded(|| self.0.reduced(bytes, channels, side))
    }

    /// See [`Decoder::exif`].
    pub(super) fn exif(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.guarded(|| Ok(self.0.exif(bytes))).ok().flatten()
    }

    /// Runs a decoder and turns its panic into an error. The decoders are safe Rust, but assertions and indexing may
    /// panic on a malformed file. Such a file must fail its row and not the executor.
    fn guarded<T>(self, decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|_| {
            let reason = "the image data are inconsistent".to_string();
            Err(DecodeError::Corrupt { format: self.label(), reason })
        })
    }
}

/// Returns the names of the supported formats, for messages.
pub fn labels() -> Vec<&'static str> {
    FORMATS.iter().map(|format| format.label()).collect()
}

/// Joins names as "a, b or c".
pub fn alternatives(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        few => few.concat(),
    }
}

/// Returns an error if the image has no pixels or more than [`MAX_PIXELS`].
fn check_size(label: &'static str, width: u32, height: u32) -> Result<(), DecodeError> {
    if width == 0 || height == 0 {
        let reason = format!("its header declares {width} x {height} pixels");
        return Err(DecodeError::Corrupt { format: label, reason });
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { format: label, width, height });
    }
    Ok(())
}

/// Allocates zeroed samples of this many bytes. Returns an error if memory is short, and does not abort the process.
fn zeroed<T: Clone + Default>(label: &'static str, bytes: u64) -> Result<Vec<T>, DecodeError> {
    let too_much = || DecodeError::OutOfMemory { format: label, bytes };
    let length = usize::try_from(bytes).map_err(|_| too_much())? / size_of::<T>();
    let mut samples = Vec::new();
    samples.try_reserve_exact(length).map_err(|_| too_much())?;
    samples.resize(length, T::default());
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_joined_with_commas_and_or() {
        for (words, text) in [
            (&[][..], ""),
            (&["png"][..], "png"),
            (&["png", "jpeg"][..], "png or jpeg"),
            (&["a", "b", "c"][..], "a, b or c"),
        ] {
            assert_eq!(alternatives(words), text);
        }
    }

    #[test]
    fn formats_have_different_names_and_do_not_match_the_files_of_others() {
        let image = super::super::testing::drawn();
        for format in FORMATS {
            let bytes = format.sample(&image);
            let known: Vec<_> = FORMATS.iter().filter(|other| other.sniff(&bytes)).map(|other| other.name()).collect();
            assert_eq!(known, [format.name()]);
            let namesakes = FORMATS.iter().filter(|other| other.name() == format.name());
            assert_eq!(namesakes.count(), 1, "{}", format.name());
        }
    }

    #[test]
    fn a_panic_in_a_decoder_is_an_error_that_names_the_format() {
        let error = Format(&png::Png).guarded::<()>(|| panic!("index out of bounds")).unwrap_err();
        let reason = "the image data are inconsistent".to_string();
        assert_eq!(error, DecodeError::Corrupt { format: "PNG", reason });
    }
}
