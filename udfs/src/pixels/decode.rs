//! Encoded bytes to pixels.

use std::error::Error;
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{Channels, DecodeError, MAX_PIXELS, Pixels, jpeg};

/// What a decoder may allocate beside its output (colour profiles, rows, palettes).
const SCRATCH_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What an image's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageInfo {
    /// Columns of the picture as it is shown, that is, after its Exif orientation was applied.
    pub width: u32,
    /// Rows of the picture as it is shown.
    pub height: u32,
    /// Samples per pixel in the file, alpha included: 1 grey, 2 grey and alpha, 3 colour (a palette too), 4 colour and
    /// alpha, or CMYK.
    pub channels: u8,
    /// Bits per sample in the file; of a palette picture, bits per index.
    pub bit_depth: u8,
    /// "jpeg", "png", "bmp", "tiff", "webp" or "gif".
    pub format: &'static str,
}

/// The format by the first bytes. File names lie: many a ".jpg" is a PNG, or the login page of a picture archive.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format) if named(format).is_some() => Ok(format),
        _ => {
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
    }
}

/// The name in figures and the name in messages of a format that is read.
fn named(format: ImageFormat) -> Option<(&'static str, &'static str)> {
    match format {
        ImageFormat::Jpeg => Some(("jpeg", "JPEG")),
        ImageFormat::Png => Some(("png", "PNG")),
        ImageFormat::Bmp => Some(("bmp", "BMP")),
        ImageFormat::Tiff => Some(("tiff", "TIFF")),
        ImageFormat::WebP => Some(("webp", "WebP")),
        ImageFormat::Gif => Some(("gif", "GIF")),
        _ => None,
    }
}

/// The name of a format in messages.
fn label(format: ImageFormat) -> &'static str {
    named(format).map_or("unknown", |(_, label)| label)
}

/// Reads an image's header and decodes no pixel.
///
/// # Errors
/// As [`decode`], but for what only the pixel data show: a file that is cut off behind its header passes.
pub fn probe(bytes: &[u8]) -> Result<ImageInfo, DecodeError> {
    let format = format_of(bytes)?;
    guarded(format, || probe_format(bytes, format))
}

fn probe_format(bytes: &[u8], format: ImageFormat) -> Result<ImageInfo, DecodeError> {
    let name = named(format).map_or("", |(name, _)| name);
    if format == ImageFormat::Jpeg {
        // The decoder would copy the whole file, and reports three channels for CMYK.
        let header = jpeg::header(bytes)?;
        let (width, height) = (u32::from(header.width), u32::from(header.height));
        check_size(format, width, height)?;
        let (width, height) = shown(width, height, exif_orientation(&header));
        return Ok(ImageInfo { width, height, channels: header.components, bit_depth: header.bit_depth, format: name });
    }
    let mut decoder = open(bytes, format)?;
    let (width, height) = decoder.dimensions();
    check_size(format, width, height)?;
    let orientation = decoder.orientation().map_err(|error| refused(format, bytes, &error))?;
    let (width, height) = shown(width, height, orientation);
    let (channels, bit_depth) = match (format, bytes.get(24..26)) {
        // The decoder widens small samples and palettes, so the header itself (PNG 3rd edition, 11.2.1) is asked.
        (ImageFormat::Png, Some(&[depth, colour])) => match colour {
            0 => (1, depth),
            4 => (2, depth),
            6 => (4, depth),
            _ => (3, depth),
        },
        // A GIF is a palette; the decoder adds an alpha channel to every one.
        (ImageFormat::Gif, _) => (3, 8),
        _ => {
            let colour = decoder.original_color_type();
            let channels = colour.channel_count().max(1);
            (channels, u8::try_from(colour.bits_per_pixel() / u16::from(channels)).unwrap_or(u8::MAX))
        }
    };
    Ok(ImageInfo { width, height, channels, bit_depth, format: name })
}

/// Decodes an image into 8-bit pixels with the wanted channels.
///
/// - The format is taken from the bytes: JPEG (grey, colour, CMYK, progressive), PNG, BMP, TIFF (first page), WebP, GIF
///   (first frame).
/// - The Exif orientation is applied, so that the picture stands as its viewer saw it.
/// - Alpha is composited on black. Radiographs are black where nothing was exposed, and padding added around one should
///   look like that; what lies hidden under transparent pixels is undefined and often white.
/// - 16-bit samples keep their upper 8 bits (`v >> 8`), as libpng's `png_set_strip_16` and OpenCV do. A 12-bit
///   radiograph stored in 16 bits without scaling comes out dark: window it before.
/// - Float samples are taken as 0.0 to 1.0 and rounded.
/// - Grey from colour is ITU-R 601 luma, see [`Pixels::into_channels`].
///
/// # Errors
/// [`DecodeError`] says what is wrong with the bytes. A truncated file is an error even where a part of the picture
/// could be shown.
pub fn decode(bytes: &[u8], channels: Channels) -> Result<Pixels, DecodeError> {
    decode_as_stored(bytes).map(|pixels| pixels.into_channels(channels))
}

/// Decodes an image as [`decode`] does, with the channels it is stored in: grey where the file is grey (alpha aside),
/// colour otherwise.
///
/// # Errors
/// As [`decode`].
pub fn decode_as_stored(bytes: &[u8]) -> Result<Pixels, DecodeError> {
    let format = format_of(bytes)?;
    guarded(format, || decode_format(bytes, format))
}

/// Runs a decoder and turns its panic into an error. The decoders are safe Rust, yet they assert and index; a file made
/// to hit such a line must cost its row, not the executor.
fn guarded<T>(format: ImageFormat, decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|_| {
        let reason = "the image data are inconsistent".to_string();
        Err(DecodeError::Corrupt { format: label(format), reason })
    })
}

/// Whether the bytes are a JPEG.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    matches!(format_of(bytes), Ok(ImageFormat::Jpeg))
}

/// How a JPEG is to be turned, after a look at all that its markers say: its size, and that it is complete.
pub(super) fn jpeg_orientation(bytes: &[u8]) -> Result<Orientation, DecodeError> {
    let header = jpeg::header(bytes)?;
    check_size(ImageFormat::Jpeg, u32::from(header.width), u32::from(header.height))?;
    jpeg::require_end(bytes, &header)?;
    Ok(exif_orientation(&header))
}

fn decode_format(bytes: &[u8], format: ImageFormat) -> Result<Pixels, DecodeError> {
    let jpeg_orientation = (format == ImageFormat::Jpeg).then(|| jpeg_orientation(bytes)).transpose()?;
    let mut decoder = open(bytes, format)?;
    let (width, height) = decoder.dimensions();
    check_size(format, width, height)?;
    let orientation = match jpeg_orientation {
        // Saves a third reading of the header.
        Some(orientation) => orientation,
        None => decoder.orientation().map_err(|error| refused(format, bytes, &error))?,
    };
    let length = decoder.total_bytes();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(length.saturating_mul(2).saturating_add(SCRATCH_BYTES_MAX));
    decoder.set_limits(limits).map_err(|error| refused(format, bytes, &error))?;

    let colour = decoder.color_type();
    let mut samples = zeroed(format, length)?;
    decoder.read_image(&mut samples).map_err(|error| refused(format, bytes, &error))?;
    let (channels, data) = to_eight_bit(format, samples, colour)?;
    Ok(turned(Pixels { width, height, channels, data }, orientation))
}

fn open(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(SCRATCH_BYTES_MAX);
    reader.limits(limits);
    reader.into_decoder().map_err(|error| refused(format, bytes, &error))
}

fn check_size(format: ImageFormat, width: u32, height: u32) -> Result<(), DecodeError> {
    let format = label(format);
    if width == 0 || height == 0 {
        return Err(DecodeError::Corrupt { format, reason: format!("its header declares {width} x {height} pixels") });
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { format, width, height });
    }
    Ok(())
}

/// Zeroed samples, without aborting the process where memory is short.
fn zeroed(format: ImageFormat, length: u64) -> Result<Vec<u8>, DecodeError> {
    let too_much = || DecodeError::OutOfMemory { format: label(format), bytes: length };
    let length = usize::try_from(length).map_err(|_| too_much())?;
    let mut samples = Vec::new();
    samples.try_reserve_exact(length).map_err(|_| too_much())?;
    samples.resize(length, 0);
    Ok(samples)
}

/// Names what the decoder refused.
fn refused(format: ImageFormat, bytes: &[u8], error: &ImageError) -> DecodeError {
    let (format, reason) = (label(format), error.to_string());
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

fn exif_orientation(header: &jpeg::JpegHeader<'_>) -> Orientation {
    header.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// The sides after the orientation was applied.
fn shown(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    }
}

pub(super) fn turned(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let Pixels { width, height, channels, data } = pixels;
    let picture = match channels {
        Channels::Grey => image::GrayImage::from_raw(width, height, data).map(DynamicImage::ImageLuma8),
        Channels::Rgb => image::RgbImage::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
    };
    // `from_raw` refuses only samples that are too short, and these were counted by `to_eight_bit`.
    let mut picture = picture.unwrap_or_default();
    picture.apply_orientation(orientation);
    Pixels { width: picture.width(), height: picture.height(), channels, data: picture.into_bytes() }
}

/// Reduces a decoder's samples to 8 bits and its channels to grey or colour.
fn to_eight_bit(format: ImageFormat, samples: Vec<u8>, colour: ColorType) -> Result<(Channels, Vec<u8>), DecodeError> {
    let samples = match colour {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => samples,
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            samples.as_chunks::<2>().0.iter().map(|&sample| (u16::from_ne_bytes(sample) >> 8) as u8).collect()
        }
        ColorType::Rgb32F | ColorType::Rgba32F => {
            let level = |&sample: &[u8; 4]| (f32::from_ne_bytes(sample).clamp(0.0, 1.0) * 255.0).round() as u8;
            samples.as_chunks::<4>().0.iter().map(level).collect()
        }
        _ => {
            return Err(DecodeError::Unsupported {
                format: label(format),
                reason: format!("unsupported sample type {colour:?}"),
            });
        }
    };
    let on_black = |level: u8, alpha: u8| ((u16::from(level) * u16::from(alpha) + 127) / 255) as u8;
    Ok(match colour.channel_count() {
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
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
