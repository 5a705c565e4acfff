//! A worker's rows, decoded once: pixels, classes, and what decides who trains on them.

mod builder;
mod cache;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt;

use tusk_core::job::{Rows, UnreadableImage};
use tusk_core::options::ModelSpec;

pub(crate) use builder::ShardBuilder;
pub use cache::CacheLimits;
pub(crate) use cache::{Reservation, ShardCache, ShardKey};

use crate::error::{Error, Result};

/// One readable image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Hash of the image's bytes. First, so that sorting puts rows in an order that no table decides.
    pub(crate) content: u64,
    /// Index into [`Shard::labels`].
    pub(crate) label: u32,
    /// Hash of the group, or of the content where there is none: what a split keeps together.
    pub(crate) key: u64,
    /// Perceptual hash of its image: equal for images that look the same.
    pub(crate) look: u64,
    /// Sum of the pixel values.
    pub(crate) sum: u64,
    /// Sum of their squares.
    pub(crate) square_sum: u64,
    /// Which image of the pixel store.
    pub(crate) place: u32,
}

/// Where the pixels are.
#[derive(Debug)]
pub(crate) enum PixelStore {
    /// In memory, in chunks of a fixed number of images.
    Memory { chunks: Vec<Vec<u8>>, images_per_chunk: usize, _reservations: Vec<Reservation> },
    /// In a file without a name.
    Disk { file: File, path: String, _reservations: Vec<Reservation> },
}

/// A worker's rows.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Readable rows, sorted.
    pub(crate) rows: Vec<Row>,
    /// The labels that occur.
    pub(crate) labels: Vec<String>,
    /// Rows of the whole table, other workers' included.
    pub(crate) rows_seen: u64,
    /// Rows without a label.
    pub(crate) null_labels: u64,
    /// Rows whose image is missing or unreadable.
    pub(crate) skipped: u64,
    /// The first few of them.
    pub(crate) unreadable: Vec<UnreadableImage>,
    /// Bytes of one image.
    pub(crate) image_bytes: usize,
    /// Seconds that building took.
    pub(crate) seconds: f64,
    pixels: PixelStore,
}

impl Shard {
    /// The rows of a selection, in the shard's order; of those that are not held out without the sorted content hashes
    /// `dropped`.
    pub(crate) fn select(&self, rows: Rows, spec: &ModelSpec, dropped: &[u64]) -> Vec<Row> {
        let wanted = |row: &&Row| match rows {
            Rows::All => true,
            Rows::Training => !spec.is_held_out(row.key),
            Rows::HeldOut => spec.is_held_out(row.key),
        };
        let kept = |row: &&Row| rows == Rows::HeldOut || dropped.binary_search(&row.content).is_err();
        self.rows.iter().filter(wanted).filter(kept).copied().collect()
    }

    /// Puts the images of these rows one after another into `out`.
    pub(crate) fn gather(&self, rows: &[Row], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        for row in rows {
            let place = row.place as usize;
            match &self.pixels {
                PixelStore::Memory { chunks, images_per_chunk, .. } => {
                    let start = (place % images_per_chunk) * self.image_bytes;
                    out.extend_from_slice(&chunks[place / images_per_chunk][start..start + self.image_bytes]);
                }
                PixelStore::Disk { file, path, .. } => {
                    let start = out.len();
                    out.resize(start + self.image_bytes, 0);
                    file.read_exact_at(&mut out[start..], (place * self.image_bytes) as u64)
                        .map_err(|source| Error::ShardFile { path: path.clone(), source })?;
                }
            }
        }
        Ok(())
    }

    /// Whether the pixels are in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.pixels, PixelStore::Memory { .. })
    }
}
