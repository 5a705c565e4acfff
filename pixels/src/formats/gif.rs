//! GIF (versions 87a and 89a), with the frames of an animation.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, ColorType, ImageDecoder, ImageFormat};

use super::{DecodeError, Decoded, Decoder, ImageInfo, image_crate};

/// The format.
pub(super) struct Gif;

impl Decoder for Gif {
    fn name(&self) -> &'static str {
        "gif"
    }

    fn label(&self) -> &'static str {
        "GIF"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(b"GIF89a") || bytes.starts_with(b"GIF87a")
    }

    fn header(&self, bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
        let info = image_crate::open(self, ImageFormat::Gif, bytes)?.info()?;
        // A GIF is a palette; the decoder adds an alpha channel to every one.
        Ok(ImageInfo { channels: 3, bit_depth: 8, frames: frames(bytes).max(1), ..info })
    }

    fn pixels(&self, bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError> {
        if frame > 0 {
            return animated(bytes, frame);
        }
        image_crate::open(self, ImageFormat::Gif, bytes)?.pixels()
    }

    #[cfg(test)]
    fn sample(&self, image: &image::DynamicImage) -> Vec<u8> {
        crate::testing::written(image, ImageFormat::Gif)
    }
}

/// Decodes an animation up to a frame, which may show parts of earlier frames.
fn animated(bytes: &[u8], frame: u32) -> Result<Decoded, DecodeError> {
    let refused = |error| image_crate::refused(&Gif, bytes, &error);
    let mut decoder = image_crate::ImageFile::new(&Gif, bytes, GifDecoder::new(Cursor::new(bytes)))?.into_decoder();
    // The canvas, and the frame before and after it is drawn.
    let limits = image_crate::limits(decoder.total_bytes().saturating_mul(3));
    decoder.set_limits(limits).map_err(refused)?;
    let mut shown = None;
    for played in decoder.into_frames().take(frame as usize + 1) {
        shown = Some(played.map_err(refused)?);
    }
    let shown = shown.map(image::Frame::into_buffer).unwrap_or_default();
    let (width, height) = shown.dimensions();
    let (channels, samples) = image_crate::without_alpha(ColorType::Rgba8, shown.into_raw());
    Ok(Decoded { width, height, channels, samples })
}

/// Counts the frames that begin in these bytes, by their image descriptors (GIF89a, section 20).
fn frames(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    // Size in bytes of the colour table declared by the flags.
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3_usize << ((flags & 7) + 1) };
    // Returns the offset after a sequence of sub-blocks, which ends with a block of length 0.
    let behind_blocks = |mut at: usize| {
        while let Some(&length) = bytes.get(at) {
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
        at
    };
    let mut frames = 0;
    let mut at = 13 + table(byte(10));
    loop {
        match byte(at) {
            b',' => {
                frames += 1;
                // The descriptor and its colour table are followed by one byte, the code size.
                at = behind_blocks(at + 10 + table(byte(at + 9)) + 1);
            }
            b'!' => at = behind_blocks(at + 2),
            // The trailer, damage, or the end of the bytes.
            _ => return frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, Rgba, RgbaImage};

    use super::super::Format;
    use super::*;
    use crate::{Channels, decode, decode_frame, probe};

    /// Frames of 4 x 2 pixels in one colour each; the second one is transparent on its left half.
    fn animation() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for (index, level) in [40_u8, 120, 200].into_iter().enumerate() {
            let image =
                RgbaImage::from_fn(4, 2, |x, _| Rgba([level, level, level, if index == 1 && x < 2 { 0 } else { 255 }]));
            let delay = Delay::from_saturating_duration(Duration::from_millis(100));
            encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).unwrap();
        }
        drop(encoder);
        bytes
    }

    #[test]
    fn every_frame_of_an_animation_is_decoded_as_it_is_displayed() {
        let bytes = animation();
        assert_eq!(probe(&bytes).unwrap().frames, 3);
        let row = |frame| decode_frame(&bytes, frame, Channels::Grey).unwrap().data[..4].to_vec();
        assert_eq!(row(0), [40; 4]);
        // The encoder has every frame cleared before the next, and alpha is composited on black.
        assert_eq!(row(1), [0, 0, 120, 120]);
        assert_eq!(row(2), [200; 4]);
        assert_eq!(decode(&bytes, Channels::Grey), decode_frame(&bytes, 0, Channels::Grey));
        let error = decode_frame(&bytes, 3, Channels::Grey).unwrap_err();
        assert_eq!(error, DecodeError::NoFrame { format: "GIF", frame: 3, frames: 3 });
    }

    #[test]
    fn a_truncated_animation_gives_an_error_or_the_whole_frame() {
        let bytes = animation();
        let whole = decode_frame(&bytes, 2, Channels::Grey).unwrap();
        let mut refused = 0;
        for length in 13..bytes.len() {
            assert!(frames(&bytes[..length]) <= 3);
            match Format::of(&bytes).unwrap().pixels(&bytes[..length], 2) {
                Ok(decoded) => {
                    assert_eq!(decoded.into_pixels().into_channels(Channels::Grey), whole, "cut to {length}")
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 30, "only {refused} cut files were refused");
    }
}
