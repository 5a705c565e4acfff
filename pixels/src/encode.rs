//! Encodes pixels as image files.

use super::formats::{Format, alternatives};
use super::{MAX_PIXELS, Pixels, PixelsError, SIDE_MAX};

/// Encodes an image in the named format: `"png"`, or `"jpeg"` (`"jpg"`); case does not matter.
///
/// `quality` is the JPEG quality from 1 to 100. PNG ignores it.
///
/// # Errors
/// Returns an error if the format is unknown, the quality is out of range, or the number of samples does not match the
/// sides.
pub fn encode(pixels: &Pixels, format: &str, quality: u8) -> Result<Vec<u8>, PixelsError> {
    pixels.check()?;
    let Pixels { width, height, .. } = *pixels;
    if width > SIDE_MAX || height > SIDE_MAX || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PixelsError::TooLarge { width, height });
    }
    let is_asked = |name: &str| name.eq_ignore_ascii_case(format);
    let asked = Format::written()
        .into_iter()
        .find(|(written, encoder)| is_asked(written.name()) || encoder.aliases.iter().any(|name| is_asked(name)));
    match asked {
        Some((_, encoder)) => (encoder.write)(pixels, quality),
        None => Err(PixelsError::UnknownFormat { format: format.to_string() }),
    }
}

/// Lists the names that [`encode`] accepts, for messages: "'png' or 'jpeg'".
pub(super) fn encoded_names() -> String {
    let names: Vec<String> = Format::written().iter().map(|(format, _)| format!("'{}'", format.name())).collect();
    alternatives(&names)
}

#[cfg(test)]
mod tests {
    use super::super::{Channels, decode, probe};
    use super::*;

    fn gradient(channels: Channels) -> Pixels {
        let data = (0..20 * 10 * channels.count()).map(|i| (i % 251) as u8).collect();
        Pixels::new(20, 10, channels, data).unwrap()
    }

    #[test]
    fn a_png_decodes_to_the_encoded_pixels() {
        for channels in [Channels::Grey, Channels::Rgb] {
            let pixels = gradient(channels);
            assert_eq!(decode(&encode(&pixels, "PNG", 0).unwrap(), channels).unwrap(), pixels);
        }
    }

    #[test]
    fn a_higher_jpeg_quality_gives_a_larger_file_and_a_smaller_error() {
        let pixels = gradient(Channels::Grey);
        let error_and_length = |quality| {
            let bytes = encode(&pixels, "jpeg", quality).unwrap();
            assert_eq!(probe(&bytes).unwrap().format, "jpeg");
            let again = decode(&bytes, Channels::Grey).unwrap();
            let error: u32 = pixels.data.iter().zip(&again.data).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            (error, bytes.len())
        };
        let (rough, small) = error_and_length(10);
        let (fine, large) = error_and_length(95);
        assert!(fine < rough && small < large, "{fine} < {rough}, {small} < {large}");
    }

    #[test]
    fn an_unknown_format_or_quality_is_refused() {
        let pixels = gradient(Channels::Grey);
        let format = encode(&pixels, "jp2", 90).unwrap_err();
        assert_eq!(format.to_string(), "unknown format 'jp2'; use 'png' or 'jpeg'");
        assert_eq!(encode(&pixels, "jpg", 0), Err(PixelsError::Quality { quality: 0 }));
        let short = Pixels { data: vec![0; 3], ..pixels };
        assert!(matches!(encode(&short, "png", 90), Err(PixelsError::WrongLength { .. })));
    }
}
