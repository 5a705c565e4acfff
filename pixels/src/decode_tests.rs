//! Tests of decoding and of its errors.

use image::{DynamicImage, ImageFormat, RgbaImage};

use super::super::decoded::Samples;
use super::super::formats::FORMATS;
use super::super::testing::{drawn, pillow_file, pillow_files, png_claiming, written};
use super::*;

#[test]
fn every_format_is_detected_and_decoded() {
    for format in FORMATS {
        let (bytes, name) = (format.sample(&drawn()), format.name());
        let info = probe(&bytes).unwrap();
        assert_eq!((info.width, info.height, info.bit_depth, info.format), (21, 13, 8, name));
        assert_eq!(info.channels, 3, "{name}");
        let pixels = decode(&bytes, Channels::Rgb).unwrap();
        if !matches!(name, "jpeg" | "gif") {
            assert_eq!(pixels.data, drawn().into_bytes(), "{name} is lossless");
        }
        let grey = decode(&bytes, Channels::Grey).unwrap();
        assert_eq!(grey, pixels.into_channels(Channels::Grey), "{name}");
    }
}

#[test]
fn files_made_by_pillow_decode_as_pillow_decodes_them() {
    for file in pillow_files() {
        let channels = if file.channels == 1 { Channels::Grey } else { Channels::Rgb };
        let ours = decode(&file.bytes, channels).unwrap();
        assert_eq!((ours.width, ours.height), (file.width, file.height), "{}", file.name);
        let info = probe(&file.bytes).unwrap();
        assert_eq!((info.width, info.height), (file.width, file.height), "{}", file.name);
        let worst = ours.data.iter().zip(&file.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // Two JPEG decoders may differ by the rounding of their transforms, and of one colour conversion.
        let allowed = if file.name.starts_with("jpeg") { 3 } else { 0 };
        assert!(worst <= allowed, "{} differs from Pillow by {worst}", file.name);
    }
}

#[test]
fn headers_give_the_channels_and_depth_of_the_file() {
    for (name, channels, bit_depth) in
        [("jpeg-grey", 1, 8), ("jpeg-cmyk", 4, 8), ("png-palette", 3, 4), ("png-one-bit", 1, 1)]
    {
        let info = probe(&pillow_file(name).bytes).unwrap();
        assert_eq!((info.channels, info.bit_depth), (channels, bit_depth), "{name}");
    }
    let sixteen = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(2, 2, image::Luma([0x12FF])));
    let info = probe(&written(&sixteen, ImageFormat::Png)).unwrap();
    assert_eq!((info.channels, info.bit_depth), (1, 16));
}

#[test]
fn grey_files_stay_grey_as_stored() {
    assert_eq!(decode_as_stored(&pillow_file("jpeg-grey").bytes).unwrap().channels, Channels::Grey);
    assert_eq!(decode_as_stored(&pillow_file("jpeg-cmyk").bytes).unwrap().channels, Channels::Rgb);
}

#[test]
fn sixteen_bit_samples_keep_their_upper_eight_bits() {
    let ramp = image::ImageBuffer::from_fn(4, 1, |x, _| image::Luma([[0x00FF, 0x0100, 0x7FFF, 0xFFFF][x as usize]]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let bytes = written(&DynamicImage::ImageLuma16(ramp.clone()), format);
        assert_eq!(decode(&bytes, Channels::Grey).unwrap().data, [0, 1, 127, 255]);
        let decoded = Format::of(&bytes).unwrap().pixels(&bytes, 0).unwrap();
        let data = vec![0x00FF, 0x0100, 0x7FFF, 0xFFFF];
        assert_eq!(decoded.samples, Samples::U16 { data, range: 0..=u16::MAX }, "{format:?} keeps its depth");
    }
}

#[test]
fn a_frame_that_a_file_does_not_have_is_refused() {
    for format in FORMATS {
        let (bytes, name) = (format.sample(&drawn()), format.name());
        assert_eq!(probe(&bytes).unwrap().frames, 1, "{name}");
        assert_eq!(decode_frame(&bytes, 0, Channels::Rgb), decode(&bytes, Channels::Rgb), "{name}");
        let error = decode_frame(&bytes, 1, Channels::Rgb).unwrap_err();
        assert_eq!(error, DecodeError::NoFrame { format: format.label(), frame: 1, frames: 1 });
    }
}

#[test]
fn alpha_is_composited_on_black() {
    let mut image = RgbaImage::new(3, 1);
    image.put_pixel(0, 0, image::Rgba([200, 100, 50, 255]));
    image.put_pixel(1, 0, image::Rgba([200, 100, 50, 128]));
    image.put_pixel(2, 0, image::Rgba([255, 255, 255, 0]));
    let image = DynamicImage::ImageRgba8(image);
    let expected = [200, 100, 50, 100, 50, 25, 0, 0, 0];
    assert_eq!(decode(&written(&image, ImageFormat::Png), Channels::Rgb).unwrap().data, expected);
    let grey = DynamicImage::ImageLumaA8(image.to_luma_alpha8());
    let decoded = decode(&written(&grey, ImageFormat::Png), Channels::Grey).unwrap();
    assert_eq!(decoded.data[2], 0, "a transparent white pixel is black");
}

#[test]
fn an_image_of_one_pixel_decodes() {
    let dot = DynamicImage::ImageRgb8(image::RgbImage::from_pixel(1, 1, image::Rgb([9, 99, 199])));
    for format in FORMATS {
        let pixels = decode(&format.sample(&dot), Channels::Rgb).unwrap();
        assert_eq!((pixels.width, pixels.height, pixels.data.len()), (1, 1, 3), "{}", format.name());
    }
}

#[test]
fn empty_bytes_and_a_web_page_named_jpg_are_refused_with_their_reason() {
    let message = |bytes: &[u8]| decode(bytes, Channels::Grey).unwrap_err().to_string();
    assert_eq!(message(b""), "the image is empty (0 bytes); the file was probably not copied completely");
    assert_eq!(
        message(b"<html><body>404 Not Found</body></html>"),
        "unsupported image format; Tusk reads JPEG, PNG, BMP, TIFF, WebP or GIF. The first bytes are 3c 68 74 6d 6c \
         3e 3c 62 (a web page or XML?)"
    );
    assert!(message(&[0; 500]).ends_with("The first bytes are 00 00 00 00 00 00 00 00"));
    assert!(message(b"\x00").ends_with("The first bytes are 00"));
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    assert!(message(&dicom).ends_with("(a DICOM file)"));
    assert_eq!(probe(b""), Err(DecodeError::Empty));
}

#[test]
fn a_truncated_jpeg_is_refused_with_its_reason() {
    for name in ["jpeg-grey", "jpeg-rgb-444", "jpeg-progressive", "jpeg-restart", "jpeg-cmyk", "jpeg-exif-6"] {
        let bytes = pillow_file(name).bytes;
        for length in 3..bytes.len() {
            let error = decode(&bytes[..length], Channels::Grey).unwrap_err();
            assert!(matches!(error, DecodeError::Truncated { .. }), "{name} cut to {length}: {error}");
        }
    }
    let bytes = pillow_file("jpeg-grey").bytes;
    let half = bytes.len() - 20;
    assert_eq!(
        decode(&bytes[..half], Channels::Grey).unwrap_err().to_string(),
        format!(
            "the JPEG image is truncated after {half} bytes (there is no end-of-image marker); copy or download the \
             file again"
        )
    );
}

#[test]
fn bytes_after_the_end_of_a_jpeg_are_ignored() {
    let PillowBytes { mut bytes, pixels } = grey_jpeg();
    bytes.extend([0; 100]);
    assert_eq!(decode(&bytes, Channels::Grey).unwrap(), pixels);
}

struct PillowBytes {
    bytes: Vec<u8>,
    pixels: Pixels,
}

fn grey_jpeg() -> PillowBytes {
    let bytes = pillow_file("jpeg-grey").bytes;
    let pixels = decode(&bytes, Channels::Grey).unwrap();
    PillowBytes { bytes, pixels }
}

#[test]
fn a_truncated_file_gives_an_error_or_the_whole_image() {
    for format in FORMATS {
        let (bytes, name) = (format.sample(&drawn()), format.name());
        let whole = decode(&bytes, Channels::Rgb).unwrap();
        for length in 0..bytes.len() {
            if let Ok(pixels) = decode(&bytes[..length], Channels::Rgb) {
                assert_eq!(pixels, whole, "{name} cut to {length} of {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn a_header_with_3600_million_pixels_is_refused_before_allocation() {
    let png = png_claiming(60_000, 60_000);
    let expected = "the PNG image declares 60000 x 60000 pixels, more than the maximum of 178956970; if the size is \
                    genuine, scale it down first";
    assert_eq!(decode(&png, Channels::Grey).unwrap_err().to_string(), expected);
    assert_eq!(probe(&png).unwrap_err().to_string(), expected);

    let mut jpeg = pillow_file("jpeg-grey").bytes;
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    let error = decode(&jpeg, Channels::Grey).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { format: "JPEG", width: 60_000, height: 60_000 });
    let flat = png_claiming(0, 7);
    assert!(matches!(decode(&flat, Channels::Grey), Err(DecodeError::Corrupt { .. })));
}

#[test]
fn damaged_bytes_give_an_error_or_an_image_and_never_a_panic() {
    // A seeded xorshift. Every file is damaged 400 times, in one to four places.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    let files = FORMATS.iter().map(|format| format.sample(&drawn()));
    for bytes in files.chain(pillow_files().into_iter().map(|file| file.bytes)) {
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            match decode(&damaged, Channels::Rgb) {
                Ok(pixels) => assert_eq!(pixels.check(), Ok(())),
                Err(_) => refused += 1,
            }
            let _ = probe(&damaged);
        }
    }
    assert!(refused > 500, "only {refused} damaged files were refused");
}
