//! The markers of a JPEG file (ITU-T T.81, annex B), read without decoding anything.
//!
//! Three things are needed that the decoder does not give: the true number of components, where the Exif block lies,
//! and whether the file is complete. The last one matters most: the decoder is lenient and paints what is missing in a
//! uniform grey, and a half-grey radiograph trains a model as if it were a finding.

use super::DecodeError;

const FORMAT: &str = "JPEG";

/// What the segments ahead of the first scan say.
pub(super) struct JpegHeader<'a> {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: u8,
    pub(super) bit_depth: u8,
    /// The TIFF structure inside the Exif segment.
    pub(super) exif: Option<&'a [u8]>,
    /// Offset of the first scan's header, just behind its marker.
    scan: usize,
}

/// A marker and the offset behind it.
struct Marker {
    code: u8,
    end: usize,
}

/// The next marker at or after `from`. Whatever stands before it is skipped, as libjpeg does.
fn next_marker(bytes: &[u8], from: usize) -> Option<Marker> {
    let mut start = from + bytes.get(from..)?.iter().position(|&byte| byte == 0xFF)?;
    // A marker may be preceded by any number of fill bytes 0xFF.
    while *bytes.get(start)? == 0xFF {
        start += 1;
    }
    bytes.get(start).map(|&code| Marker { code, end: start + 1 })
}

/// The content of the segment whose length field stands at `at`.
fn segment(bytes: &[u8], at: usize) -> Result<&[u8], DecodeError> {
    let Some(&[high, low]) = bytes.get(at..at + 2) else {
        return Err(truncated(bytes, "a segment has no length"));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(corrupt(format!("the segment at byte {at} has length {length}")));
    }
    bytes.get(at + 2..at + length).ok_or_else(|| truncated(bytes, "a header segment is truncated"))
}

/// Reads the segments up to the first scan.
pub(super) fn header(bytes: &[u8]) -> Result<JpegHeader<'_>, DecodeError> {
    let mut frame = None;
    let mut exif = None;
    let mut at = 2;
    while let Some(Marker { code, end }) = next_marker(bytes, at) {
        at = end;
        match code {
            // Stuffing, TEM, restart and start-of-image markers carry no length.
            0x00 | 0x01 | 0xD0..=0xD8 => continue,
            0xD9 => return Err(corrupt("the file ends before the image data".to_string())),
            0xDA => {
                let Some((bit_depth, height, width, components)) = frame else {
                    return Err(corrupt("a scan comes before the frame header".to_string()));
                };
                return Ok(JpegHeader { width, height, components, bit_depth, exif, scan: end });
            }
            _ => {}
        }
        let content = segment(bytes, at)?;
        at += 2 + content.len();
        match code {
            // Start of frame, baseline to arithmetic; C4, C8 and CC are tables and an extension.
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let &[bit_depth, h1, h0, w1, w0, components, ..] = content else {
                    return Err(corrupt("the frame header is too short".to_string()));
                };
                frame = Some((bit_depth, u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]), components));
            }
            0xE1 if exif.is_none() => exif = content.strip_prefix(b"Exif\0\0"),
            _ => {}
        }
    }
    Err(truncated(bytes, "there is no scan"))
}

/// Refuses a file whose end-of-image marker is missing.
pub(super) fn require_end(bytes: &[u8], header: &JpegHeader<'_>) -> Result<(), DecodeError> {
    // The common case at once. FF D9 cannot occur inside entropy-coded data, where FF is followed by 00 or a restart.
    if bytes.len() >= header.scan + 2 && bytes.ends_with(&[0xFF, 0xD9]) {
        return Ok(());
    }
    let mut at = header.scan;
    at += 2 + segment(bytes, at)?.len();
    while let Some(Marker { code, end }) = next_marker(bytes, at) {
        at = end;
        match code {
            0xD9 => return Ok(()),
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => at += 2 + segment(bytes, at)?.len(),
        }
    }
    Err(truncated(bytes, "there is no end-of-image marker"))
}

fn truncated(bytes: &[u8], reason: &str) -> DecodeError {
    DecodeError::Truncated { format: FORMAT, length: bytes.len(), reason: reason.to_string() }
}

fn corrupt(reason: String) -> DecodeError {
    DecodeError::Corrupt { format: FORMAT, reason }
}
