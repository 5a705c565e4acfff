//! WebP, lossy and lossless. Of an animation, only the first frame is read.

use std::borrow::Cow;

use image::ImageFormat;

use super::{DecodeError, Decoded, Decoder, ImageInfo, image_crate};

/// The format.
pub(super) struct WebP;

impl Decoder for WebP {
    fn name(&self) -> &'static str {
        "webp"
    }

    fn label(&self) -> &'static str {
        "WebP"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
    }

    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        image_crate::open(self, ImageFormat::WebP, bytes)?.info()
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        image_crate::open(self, ImageFormat::WebP, bytes)?.pixels()
    }

    fn exif<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        image_crate::open(self, ImageFormat::WebP, bytes).ok()?.exif().map(Cow::Owned)
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::WebP)
    }
}
