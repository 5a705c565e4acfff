//! TIFF (revision 6.0), with up to 16 bits a sample or with floats. Only the first page is read.

use std::borrow::Cow;

use image::ImageFormat;

use super::{DecodeError, Decoded, Decoder, ImageInfo, image_crate};

/// The format.
pub(super) struct Tiff;

impl Decoder for Tiff {
    fn name(&self) -> &'static str {
        "tiff"
    }

    fn label(&self) -> &'static str {
        "TIFF"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(b"MM\0*") || bytes.starts_with(b"II*\0")
    }

    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        image_crate::open(self, ImageFormat::Tiff, bytes)?.info()
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        image_crate::open(self, ImageFormat::Tiff, bytes)?.pixels()
    }

    /// The directory of the first page has the tags.
    fn exif<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(bytes))
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::Tiff)
    }
}
