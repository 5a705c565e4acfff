//! Image formats: one per file, and one line each in [`FORMATS`].

mod bmp;
mod gif;
mod image_crate;
mod jpeg;
mod png;
mod tiff;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::decoded::{Decoded, Reduced};
use super::{Channels, DecodeError, ImageInfo, MAX_PIXELS, Pixels, PixelsError};

/// The formats that are read. The first that knows a file's bytes reads it.
pub(super) const FORMATS: &[&dyn Decoder] = &[&jpeg::Jpeg, &png::Png, &bmp::Bmp, &tiff::Tiff, &webp::WebP, &gif::Gif];

/// An image format: how its files are recognised, read and, in some formats, written.
///
/// Files are hostile. A decoder calls [`check_size`] before it allocates anything of the size that a header claims.
pub(super) trait Decoder: Sync {
    /// The name in SQL: "jpeg".
    fn name(&self) -> &'static str;

    /// The name in messages: "JPEG".
    fn label(&self) -> &'static str;

    /// Whether the bytes are of this format, judged by its signature. File names lie: many a ".jpg" is a PNG, or the
    /// login page of a picture archive.
    fn sniff(&self, bytes: &[u8]) -> bool;

    /// Reads the header and decodes no pixel. The bytes may be only the first part of a file.
    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError>;

    /// Decodes a frame as it is shown: turned as the file says, alpha composited on black. Frames count from 0, and
    /// there are as many as the header says.
    fn pixels(&self, bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError>;

    /// Decodes the first frame to the smallest size that the format gives at once and of which neither side falls below
    /// `side`. `None` where [`Decoder::pixels`] must decode the file: the format has no such way, or the file is not fit
    /// for it.
    fn reduced(&self, _bytes: &[u8], _channels: Channels, _side: u32) -> Result<Option<Reduced>, DecodeError> {
        Ok(None)
    }

    /// How pictures are written; `None` for a format that is only read.
    fn encoder(&self) -> Option<Encoder> {
        None
    }

    /// A file of 8-bit colour for the tests that every format must pass.
    #[cfg(test)]
    fn sample(&self, picture: &image::DynamicImage) -> Vec<u8>;
}

/// How pictures are written in a format.
pub struct Encoder {
    /// What SQL takes beside the format's name.
    pub(super) aliases: &'static [&'static str],
    /// Whether the file decodes to the same pixels.
    pub is_lossless: bool,
    /// Writes a picture with a quality from 1 to 100, which lossless formats ignore.
    pub(super) write: fn(&Pixels, quality: u8) -> Result<Vec<u8>, PixelsError>,
}

/// A format of [`FORMATS`]. Everything that is decoded goes through it.
#[derive(Clone, Copy)]
pub struct Format(&'static dyn Decoder);

impl Format {
    /// The format of a file, by its bytes.
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

    /// The formats that are written, the lossless ones first.
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

    /// See [`Decoder::pixels`]; a frame that the file does not have is an error.
    pub(super) fn pixels(self, bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError> {
        self.guarded(|| {
            // Every file has a first frame, so only those behind it cost a look at the header.
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

    /// Runs a decoder and turns its panic into an error. The decoders are safe Rust, yet they assert and index; a file
    /// made to hit such a line must cost its row, not the executor.
    fn guarded<T>(self, decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|_| {
            let reason = "the image data are inconsistent".to_string();
            Err(DecodeError::Corrupt { format: self.label(), reason })
        })
    }
}

/// The names in messages of the formats that are read.
pub fn labels() -> Vec<&'static str> {
    FORMATS.iter().map(|format| format.label()).collect()
}

/// "a, b or c".
pub fn alternatives(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        few => few.concat(),
    }
}

/// Refuses a picture without pixels, and one with more than [`MAX_PIXELS`].
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

/// Zeroed samples that fill this many bytes, without aborting the process where memory is short.
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
    fn alternatives_read_as_a_sentence_does() {
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
    fn no_two_formats_share_a_name_and_none_knows_the_files_of_another() {
        let picture = super::super::testing::drawn();
        for format in FORMATS {
            let bytes = format.sample(&picture);
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
