//! PNG (3rd edition), with 1 to 16 bits a sample.

use std::borrow::Cow;

use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageFormat};

use super::{DecodeError, Decoded, Decoder, Encoder, ImageInfo, image_crate};

/// The format.
pub(super) struct Png;

impl Decoder for Png {
    fn name(&self) -> &'static str {
        "png"
    }

    fn label(&self) -> &'static str {
        "PNG"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(b"\x89PNG\r\n\x1a\n")
    }

    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        let info = image_crate::open(self, ImageFormat::Png, bytes)?.info()?;
        // The decoder expands small samples and palettes, so the depth is read from the header (section 11.2.1).
        let Some(&[bit_depth, colour]) = bytes.get(24..26) else { return Ok(info) };
        let channels = match colour {
            0 => 1,
            4 => 2,
            6 => 4,
            _ => 3,
        };
        Ok(ImageInfo { channels, bit_depth, ..info })
    }

    fn pixels(&self, bytes: &[u8], _: u32) -> Result<Decoded, DecodeError> {
        image_crate::open(self, ImageFormat::Png, bytes)?.pixels()
    }

    fn exif<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        image_crate::open(self, ImageFormat::Png, bytes).ok()?.exif().map(Cow::Owned)
    }

    fn encoder(&self) -> Option<Encoder> {
        Some(Encoder {
            aliases: &[],
            is_lossless: true,
            write: |pixels, _| {
                image_crate::written(pixels, |bytes, colour| {
                    PngEncoder::new(bytes).write_image(&pixels.data, pixels.width, pixels.height, colour)
                })
            },
        })
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::Png)
    }
}
