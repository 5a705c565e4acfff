//! BMP, the bitmap of Windows.

use image::ImageFormat;

use super::{DecodeError, Decoded, Decoder, ImageInfo, image_crate};

/// The format.
pub(super) struct Bmp;

impl Decoder for Bmp {
    fn name(&self) -> &'static str {
        "bmp"
    }

    fn label(&self) -> &'static str {
        "BMP"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(b"BM")
    }

    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        image_crate::open(self, ImageFormat::Bmp, bytes)?.info()
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        image_crate::open(self, ImageFormat::Bmp, bytes)?.pixels()
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::Bmp)
    }
}
