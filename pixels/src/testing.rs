//! Test images: generated in memory, and files written by Pillow.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbaImage};

/// A colour image of 21 x 13 pixels without symmetry.
pub(crate) fn drawn() -> DynamicImage {
    let mut image = RgbaImage::new(21, 13);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        pixel.0 = [(x * 12) as u8, (y * 19) as u8, ((x * y) % 251) as u8, 255];
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8())
}

/// Encodes an image with the `image` crate.
pub(crate) fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A file of tests/reference/pillow_files.txt and its pixels as decoded by Pillow.
pub(crate) struct PillowFile {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) pixels: Vec<u8>,
}

/// All files of tests/reference/pillow_files.txt.
pub(crate) fn pillow_files() -> Vec<PillowFile> {
    let text = include_str!("../tests/reference/pillow_files.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [name, bytes, width, height, channels, pixels] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("six fields a line");
            };
            PillowFile {
                name,
                bytes: unhex(bytes),
                width: width.parse().unwrap(),
                height: height.parse().unwrap(),
                channels: channels.parse().unwrap(),
                pixels: unhex(pixels),
            }
        })
        .collect()
}

/// Returns the file with this name.
pub(crate) fn pillow_file(name: &str) -> PillowFile {
    pillow_files().into_iter().find(|file| file.name == name).unwrap()
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Returns a PNG whose header declares these sides and which has almost no data.
pub(crate) fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    for chunk in [header, b"IDAT\x78\x9c\x03\x00\x00\x00\x00\x01".to_vec(), b"IEND".to_vec()] {
        png.extend((chunk.len() as u32 - 4).to_be_bytes());
        png.extend(&chunk);
        png.extend(crc32(&chunk).to_be_bytes());
    }
    png
}

/// The checksum of PNG chunks (PNG 3rd edition, annex D).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
