//! Decoding and encoding with the `image` crate, shared by several formats.

use std::error::Error;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{ColorType, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits};

use super::{Channels, DecodeError, Decoded, Decoder, ImageInfo, Pixels, PixelsError, check_size, zeroed};
use crate::decoded::Samples;
use crate::on_black;

/// Bytes that a decoder may allocate in addition to its output (colour profiles, rows, palettes).
const SCRATCH_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A file whose header has been read and whose size has been checked.
pub(super) struct ImageFile<'a, D> {
    format: &'a dyn Decoder,
    bytes: &'a [u8],
    decoder: D,
    width: u32,
    height: u32,
}

/// Opens a file with the decoder of the `image` crate.
pub(super) fn open<'a>(
    format: &'a dyn Decoder,
    decoder: ImageFormat,
    bytes: &'a [u8],
) -> Result<ImageFile<'a, impl ImageDecoder>, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), decoder);
    reader.limits(limits(0));
    ImageFile::new(format, bytes, reader.into_decoder())
}

impl<'a, D: ImageDecoder> ImageFile<'a, D> {
    /// Wraps a file opened by one of the decoders.
    pub(super) fn new(format: &'a dyn Decoder, bytes: &'a [u8], opened: ImageResult<D>) -> Result<Self, DecodeError> {
        let decoder = opened.map_err(|error| refused(format, bytes, &error))?;
        let (width, height) = decoder.dimensions();
        check_size(format.label(), width, height)?;
        Ok(Self { format, bytes, decoder, width, height })
    }

    /// Returns the properties in the header, as reported by the decoder.
    pub(super) fn info(mut self) -> Result<ImageInfo, DecodeError> {
        let orientation = self.orientation()?;
        let (width, height) = shown(self.width, self.height, orientation);
        let colour = self.decoder.original_color_type();
        let channels = colour.channel_count().max(1);
        let bit_depth = u8::try_from(colour.bits_per_pixel() / u16::from(channels)).unwrap_or(u8::MAX);
        Ok(ImageInfo { width, height, channels, bit_depth, frames: 1, format: self.format.name(), quality: None })
    }

    /// Decodes the first frame and applies the orientation of the file.
    pub(super) fn pixels(mut self) -> Result<Decoded, DecodeError> {
        let orientation = self.orientation()?;
        self.pixels_turned(orientation)
    }

    /// Decodes the first frame and applies this orientation.
    pub(super) fn pixels_turned(mut self, orientation: Orientation) -> Result<Decoded, DecodeError> {
        let limits = limits(self.decoder.total_bytes().saturating_mul(2));
        self.decoder.set_limits(limits).map_err(|error| refused(self.format, self.bytes, &error))?;
        let (width, height) = (self.width, self.height);
        let (channels, samples) = self.samples()?;
        Ok(Decoded { width, height, channels, samples }.turned(orientation))
    }

    /// Returns the Exif block of the file, if it has one before its pixels.
    pub(super) fn exif(mut self) -> Option<Vec<u8>> {
        self.decoder.exif_metadata().ok().flatten()
    }

    /// Returns the decoder, for code specific to a format.
    pub(super) fn into_decoder(self) -> D {
        self.decoder
    }

    fn orientation(&mut self) -> Result<Orientation, DecodeError> {
        self.decoder.orientation().map_err(|error| refused(self.format, self.bytes, &error))
    }

    /// Converts to grey or colour with the bit depth of the file. Samples with alpha and floats are reduced to 8 bits.
    fn samples(self) -> Result<(Channels, Samples), DecodeError> {
        let colour = self.decoder.color_type();
        Ok(match colour {
            ColorType::L16 => (Channels::Grey, Samples::U16 { data: self.read()?, range: 0..=u16::MAX }),
            ColorType::Rgb16 => (Channels::Rgb, Samples::U16 { data: self.read()?, range: 0..=u16::MAX }),
            ColorType::La16 | ColorType::Rgba16 => {
                let samples: Vec<u16> = self.read()?;
                without_alpha(colour, samples.iter().map(|sample| (sample >> 8) as u8).collect())
            }
            ColorType::Rgb32F | ColorType::Rgba32F => {
                let samples: Vec<f32> = self.read()?;
                let level = |sample: &f32| (sample.clamp(0.0, 1.0) * 255.0).round() as u8;
                without_alpha(colour, samples.iter().map(level).collect())
            }
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => without_alpha(colour, self.read()?),
            _ => {
                let reason = format!("unsupported sample type {colour:?}");
                return Err(DecodeError::Unsupported { format: self.format.label(), reason });
            }
        })
    }

    /// The output of the decoder, in native byte order.
    fn read<T: bytemuck::Pod + Default>(self) -> Result<Vec<T>, DecodeError> {
        let mut samples: Vec<T> = zeroed(self.format.label(), self.decoder.total_bytes())?;
        let read = self.decoder.read_image(bytemuck::cast_slice_mut(samples.as_mut_slice()));
        read.map_err(|error| refused(self.format, self.bytes, &error))?;
        Ok(samples)
    }
}

/// Limits the allocations of a decoder to its scratch memory and this many bytes of pixels.
pub(super) fn limits(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes.saturating_add(SCRATCH_BYTES_MAX));
    limits
}

/// Composites 8-bit samples of these channels on black.
pub(super) fn without_alpha(colour: ColorType, samples: Vec<u8>) -> (Channels, Samples) {
    let (channels, samples) = match colour.channel_count() {
        1 => (Channels::Grey, samples),
        2 => {
            let grey = samples.as_chunks::<2>().0.iter().map(|&[level, alpha]| on_black(level, alpha)).collect();
            (Channels::Grey, grey)
        }
        3 => (Channels::Rgb, samples),
        _ => {
            let rgba = samples.as_chunks::<4>().0.iter();
            (Channels::Rgb, rgba.flat_map(|&[r, g, b, a]| [on_black(r, a), on_black(g, a), on_black(b, a)]).collect())
        }
    };
    (channels, Samples::U8(samples))
}

/// Converts an error of the decoder.
pub(super) fn refused(format: &dyn Decoder, bytes: &[u8], error: &ImageError) -> DecodeError {
    let (format, reason) = (format.label(), error.to_string());
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
            return DecodeError::Truncated { format, length: bytes.len(), reason };
        }
        cause = current.source();
    }
    match error {
        ImageError::Unsupported(_) | ImageError::Limits(_) => DecodeError::Unsupported { format, reason },
        _ => DecodeError::Corrupt { format, reason },
    }
}

/// The sides after the orientation is applied.
pub(super) fn shown(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    }
}

/// Encodes an image with one of the encoders of the `image` crate.
pub(super) fn written(
    pixels: &Pixels,
    encode: impl FnOnce(&mut Vec<u8>, ExtendedColorType) -> ImageResult<()>,
) -> Result<Vec<u8>, PixelsError> {
    let colour = match pixels.channels {
        Channels::Grey => ExtendedColorType::L8,
        Channels::Rgb => ExtendedColorType::Rgb8,
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, colour).map_err(|error| PixelsError::Backend { task: "encoded", reason: error.to_string() })?;
    Ok(bytes)
}
