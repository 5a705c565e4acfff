//! The images that are measured: all of a table, or as many as memory allows.

use std::collections::BinaryHeap;

use tusk_core::nuisances::Value;
use tusk_core::random::content_hash;

use super::thumbnail::Thumbnail;

/// Maximum number of images that are measured. They take 64 MB, and as much again for a probe.
pub(crate) const ROWS_MAX: usize = 10_000;

/// An image, as far as it is measured. What is not known is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Width of the original, in pixels.
    pub(crate) width: Option<f64>,
    /// Height of the original, in pixels.
    pub(crate) height: Option<f64>,
    /// Samples per pixel.
    pub(crate) channels: Option<f64>,
    /// Bits per sample.
    pub(crate) bit_depth: Option<f64>,
    /// Name of the format.
    pub(crate) format: Option<String>,
    /// Bytes of the file.
    pub(crate) bytes: Option<f64>,
    /// Quality of a JPEG, from 1 to 100.
    pub(crate) jpeg_quality: Option<f64>,
    /// Exif orientation, from 1 to 8.
    pub(crate) orientation: Option<String>,
    /// Maker of the device.
    pub(crate) make: Option<String>,
    /// Model of the device.
    pub(crate) model: Option<String>,
    /// Program that wrote the file.
    pub(crate) software: Option<String>,
    /// Resolution in pixels per inch.
    pub(crate) dots_per_inch: Option<f64>,
    /// A small grey copy.
    pub(crate) thumbnail: Thumbnail,
}

/// A row of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The true class.
    pub(crate) label: String,
    /// The content hash.
    pub(crate) content: u64,
    /// The split key: the hash of the group, or the content hash if there is no group. Rows with the same one stay together.
    pub(crate) group: u64,
    /// The image.
    pub(crate) image: Image,
    /// The other columns of the table.
    pub(crate) columns: Vec<Option<Value>>,
}

/// Rows in the order of their hashes.
struct Hashed(u64, Row);

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Hashed {}

impl PartialOrd for Hashed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hashed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Rows of a table. Of more than [`ROWS_MAX`], those with the smallest hashes are kept, so that the sample does not depend on
/// the order of the table.
#[derive(Default)]
pub(crate) struct Sample {
    rows: BinaryHeap<Hashed>,
    /// Number of rows with a readable image.
    pub(crate) readable: u64,
    /// Number of rows with an unreadable image.
    pub(crate) unreadable: u64,
}

impl Sample {
    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.readable += 1;
        let hash =
            content_hash(&[row.image.thumbnail.samples(), &row.group.to_le_bytes(), row.label.as_bytes()].concat());
        self.rows.push(Hashed(hash, row));
        if self.rows.len() > ROWS_MAX {
            self.rows.pop();
        }
    }

    /// Returns the rows in the order of their hashes.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows.into_sorted_vec().into_iter().map(|Hashed(_, row)| row).collect()
    }
}
