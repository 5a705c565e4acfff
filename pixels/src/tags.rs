//! The Exif tags of an image that say what made it (CIPA DC-008; TIFF revision 6.0, section 2).
//!
//! Only the first directory is read, and of it only a few tags: no place, time, person or serial number. Files are not
//! trusted, and a malformed tag is missing.

use super::formats::Format;

/// Maximum length of a text, in characters. The rest is cut off.
const TEXT_CHARS_MAX: usize = 64;

// Types of values.
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const RATIONAL: u16 = 5;

// Tags.
const MAKE: u16 = 0x010F;
const MODEL: u16 = 0x0110;
const ORIENTATION: u16 = 0x0112;
const X_RESOLUTION: u16 = 0x011A;
const RESOLUTION_UNIT: u16 = 0x0128;
const SOFTWARE: u16 = 0x0131;

/// The tags of an image. What the file does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags {
    /// How the image is turned before it is shown, from 1 (as stored) to 8.
    pub orientation: Option<u8>,
    /// The maker of the device.
    pub make: Option<String>,
    /// The model of the device.
    pub model: Option<String>,
    /// The program that wrote the file.
    pub software: Option<String>,
    /// Horizontal resolution in pixels per inch, above 0.
    pub dots_per_inch: Option<f64>,
}

/// Returns the tags of a file. They are empty if it is not an image, or if it has none.
#[must_use]
pub fn tags(bytes: &[u8]) -> Tags {
    let exif = Format::of(bytes).ok().and_then(|format| format.exif(bytes));
    let Some(exif) = exif else { return Tags::default() };
    // Some programs write the prefix of a JPEG's segment into files of other formats.
    of_tiff(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif)).unwrap_or_default()
}

/// Reads the first directory of a TIFF structure. `None` if it is not one.
fn of_tiff(bytes: &[u8]) -> Option<Tags> {
    let tiff = Tiff::new(bytes)?;
    let directory = tiff.place(4)?;
    let count = usize::from(tiff.u16(directory)?);
    let (mut tags, mut resolution, mut unit) = (Tags::default(), None, None);
    // A directory may end before its count.
    for entry in (0..count).map_while(|index| tiff.entry(directory.checked_add(2 + 12 * index)?)) {
        match entry.tag {
            MAKE => tags.make = entry.text(),
            MODEL => tags.model = entry.text(),
            SOFTWARE => tags.software = entry.text(),
            ORIENTATION => {
                let turned = entry.short().and_then(|turned| u8::try_from(turned).ok());
                tags.orientation = turned.filter(|turned| (1..=8).contains(turned));
            }
            X_RESOLUTION => resolution = entry.fraction(),
            RESOLUTION_UNIT => unit = entry.short(),
            _ => {}
        }
    }
    let units_per_inch = match unit {
        None | Some(2) => Some(1.0),
        Some(3) => Some(2.54),
        // The numbers are only a ratio.
        Some(_) => None,
    };
    tags.dots_per_inch = resolution.zip(units_per_inch).map(|(resolution, units)| resolution * units);
    Some(tags)
}

/// A TIFF structure.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = match bytes.first_chunk::<4>()? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        Some(Self { bytes, is_big_endian })
    }

    fn u16(self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Returns the offset that is stored here.
    fn place(self, at: usize) -> Option<usize> {
        usize::try_from(self.u32(at)?).ok()
    }

    /// Returns an entry of a directory, or `None` beyond the end.
    fn entry(self, at: usize) -> Option<Entry<'a>> {
        let value = at.checked_add(8)?;
        self.u32(value)?;
        Some(Entry {
            tiff: self,
            tag: self.u16(at)?,
            kind: self.u16(at.checked_add(2)?)?,
            count: self.place(at.checked_add(4)?)?,
            value,
        })
    }
}

/// An entry of a directory.
#[derive(Clone, Copy)]
struct Entry<'a> {
    tiff: Tiff<'a>,
    tag: u16,
    /// The type of the values.
    kind: u16,
    /// Number of values.
    count: usize,
    /// The offset of the values, or of their offset if they have more than four bytes.
    value: usize,
}

impl Entry<'_> {
    /// Returns a text up to its first zero, without spaces around it. `None` if it is empty.
    fn text(self) -> Option<String> {
        let at = if self.count <= 4 { self.value } else { self.tiff.place(self.value)? };
        let bytes = self.tiff.bytes.get(at..at.checked_add(self.count)?).filter(|_| self.kind == ASCII)?;
        let text = String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next()?).into_owned();
        let text: String = text.trim().chars().take(TEXT_CHARS_MAX).collect();
        (!text.is_empty()).then_some(text)
    }

    fn short(self) -> Option<u16> {
        if self.kind == SHORT && self.count == 1 { self.tiff.u16(self.value) } else { None }
    }

    /// Returns a fraction that is finite and above 0.
    fn fraction(self) -> Option<f64> {
        if self.kind != RATIONAL || self.count != 1 {
            return None;
        }
        let at = self.tiff.place(self.value)?;
        let fraction = f64::from(self.tiff.u32(at)?) / f64::from(self.tiff.u32(at.checked_add(4)?)?);
        (fraction.is_finite() && fraction > 0.0).then_some(fraction)
    }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::super::testing::{crc32, drawn, written};
    use super::*;

    /// A value of a directory.
    enum Put {
        Text(&'static str),
        Short(u16),
        Fraction(u32, u32),
        /// A type, a count, and four bytes.
        Raw(u16, u32, [u8; 4]),
    }

    /// A TIFF structure with these tags.
    fn tiff(is_big_endian: bool, entries: &[(u16, Put)]) -> Vec<u8> {
        let two = |value: u16| if is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let four = |value: u32| if is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut bytes = if is_big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        bytes.extend(four(8));
        bytes.extend(two(entries.len() as u16));
        let after = 8 + 2 + 12 * entries.len() + 4;
        let mut values = Vec::new();
        for (tag, put) in entries {
            let place = four((after + values.len()) as u32);
            let (kind, count, value) = match put {
                Put::Short(value) => (SHORT, 1, [two(*value), [0; 2]].concat()),
                Put::Raw(kind, count, value) => (*kind, *count, value.to_vec()),
                Put::Fraction(above, below) => {
                    values.extend([four(*above), four(*below)].concat());
                    (RATIONAL, 1, place.to_vec())
                }
                Put::Text(text) => {
                    let text = [text.as_bytes(), &[0]].concat();
                    let count = text.len() as u32;
                    let short = text.len() <= 4;
                    let value = if short { [text.clone(), vec![0; 4]].concat()[..4].to_vec() } else { place.to_vec() };
                    values.extend(if short { Vec::new() } else { text });
                    (ASCII, count, value)
                }
            };
            bytes.extend(two(*tag));
            bytes.extend(two(kind));
            bytes.extend(four(count));
            bytes.extend(value);
        }
        bytes.extend([0; 4]);
        bytes.extend(values);
        bytes
    }

    fn acme() -> Tags {
        Tags {
            orientation: Some(6),
            make: Some("Acme Imaging".to_owned()),
            model: Some("X1".to_owned()),
            software: Some("Viewer 2.1".to_owned()),
            dots_per_inch: Some(254.0),
        }
    }

    fn entries() -> Vec<(u16, Put)> {
        vec![
            (0x0100, Put::Short(640)),
            (MAKE, Put::Text("  Acme Imaging ")),
            (MODEL, Put::Text("X1")),
            (ORIENTATION, Put::Short(6)),
            (X_RESOLUTION, Put::Fraction(200, 2)),
            (RESOLUTION_UNIT, Put::Short(3)),
            (SOFTWARE, Put::Text("Viewer 2.1")),
        ]
    }

    /// A JPEG with an Exif segment.
    fn jpeg(exif: &[u8]) -> Vec<u8> {
        let jpeg = written(&drawn(), ImageFormat::Jpeg);
        let segment = [b"Exif\0\0".as_slice(), exif].concat();
        let length = (segment.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xFF, 0xE1], &length, &segment, &jpeg[2..]].concat()
    }

    #[test]
    fn the_tags_of_a_jpeg_are_read_in_both_byte_orders() {
        for is_big_endian in [true, false] {
            assert_eq!(tags(&jpeg(&tiff(is_big_endian, &entries()))), acme());
        }
        for bytes in [written(&drawn(), ImageFormat::Jpeg), written(&drawn(), ImageFormat::Png), b"no image".to_vec()] {
            assert_eq!(tags(&bytes), Tags::default());
        }
    }

    #[test]
    fn a_tiff_file_has_its_tags_itself() {
        let found = tags(&written(&drawn(), ImageFormat::Tiff));
        assert_eq!((found.make, found.model), (None, None));
        assert_eq!(tags(&tiff(true, &entries())), acme());
    }

    #[test]
    fn a_png_has_its_tags_in_a_chunk() {
        let png = written(&drawn(), ImageFormat::Png);
        let exif = tiff(false, &entries());
        // After the signature and the header, which have 8 and 25 bytes.
        let chunk = [b"eXIf".as_slice(), &exif].concat();
        let crc = crc32(&chunk);
        let length = (exif.len() as u32).to_be_bytes();
        assert_eq!(tags(&[&png[..33], &length, &chunk, &crc.to_be_bytes(), &png[33..]].concat()), acme());
    }

    #[test]
    fn the_unit_of_the_resolution_is_an_inch_a_centimetre_or_unknown() {
        let of = |unit: Option<u16>| {
            let mut entries = vec![(X_RESOLUTION, Put::Fraction(300, 1))];
            entries.extend(unit.map(|unit| (RESOLUTION_UNIT, Put::Short(unit))));
            of_tiff(&tiff(true, &entries)).unwrap().dots_per_inch
        };
        assert_eq!([of(None), of(Some(2)), of(Some(3)), of(Some(1))], [Some(300.0), Some(300.0), Some(762.0), None]);
    }

    #[test]
    fn a_malformed_tag_is_missing_and_the_others_are_read() {
        let make = || (MAKE, Put::Text("Acme Imaging"));
        for entry in [
            (MODEL, Put::Raw(ASCII, u32::MAX, [0; 4])),
            (MODEL, Put::Raw(ASCII, 100, [0xFF; 4])),
            (MODEL, Put::Raw(SHORT, 2, [65; 4])),
            (MODEL, Put::Text(" ")),
            (SOFTWARE, Put::Raw(ASCII, 0, [0; 4])),
            (ORIENTATION, Put::Short(9)),
            (ORIENTATION, Put::Short(0x0101)),
            (ORIENTATION, Put::Raw(ASCII, 1, [6; 4])),
            (X_RESOLUTION, Put::Fraction(1, 0)),
            (X_RESOLUTION, Put::Fraction(0, 1)),
            (X_RESOLUTION, Put::Raw(RATIONAL, 1, [0xFF; 4])),
        ] {
            let expected = Tags { make: Some("Acme Imaging".to_owned()), ..Tags::default() };
            assert_eq!(of_tiff(&tiff(false, &[entry, make()])), Some(expected));
        }
        let long = of_tiff(&tiff(true, &[(MODEL, Put::Text(LONG))]));
        assert_eq!(long.unwrap().model.unwrap().len(), TEXT_CHARS_MAX);
    }

    const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789";

    #[test]
    fn damaged_structures_do_not_panic() {
        let whole = tiff(true, &entries());
        for length in 0..whole.len() {
            drop(of_tiff(&whole[..length]));
        }
        for place in 0..whole.len() {
            for byte in [0, 1, 0x7F, 0xFF] {
                let mut damaged = whole.clone();
                damaged[place] = byte;
                drop(of_tiff(&damaged));
                drop(tags(&jpeg(&damaged)));
            }
        }
        assert_eq!(of_tiff(b"MM\0*\xFF\xFF\xFF\xFF"), None);
    }
}
