//! Stores a worker's rows: decoded pixels, labels, and the hashes that assign rows to workers and to the sides of a
//! split.

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

/// A row with a readable image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// The content hash. It is the first field, so that the order of sorted rows does not depend on the order of the
    /// table.
    pub(crate) content: u64,
    /// The index into [`Shard::labels`].
    pub(crate) label: u32,
    /// The split key: the hash of the group, or the content hash if there is no group.
    pub(crate) key: u64,
    /// The perceptual hash of the image.
    pub(crate) perceptual: u64,
    /// The sum of the pixel values.
    pub(crate) sum: u64,
    /// The sum of the squares of the pixel values.
    pub(crate) square_sum: u64,
    /// The index of the image in the pixel store.
    pub(crate) place: u32,
}

/// The pixels of a shard.
#[derive(Debug)]
pub(crate) enum PixelStore {
    /// In memory, in chunks of a fixed number of images.
    Memory { chunks: Vec<Vec<u8>>, images_per_chunk: usize, _reservations: Vec<Reservation> },
    /// In an unnamed temporary file.
    Disk { file: File, path: String, _reservations: Vec<Reservation> },
}

/// A worker's rows.
#[derive(Debug)]
pub(crate) struct Shard {
    /// The rows with a readable image, sorted.
    pub(crate) rows: Vec<Row>,
    /// The labels that occur.
    pub(crate) labels: Vec<String>,
    /// The number of rows of the whole table, including those of other workers.
    pub(crate) rows_seen: u64,
    /// The number of rows without a label.
    pub(crate) null_labels: u64,
    /// The number of rows whose image is missing or unreadable.
    pub(crate) skipped: u64,
    /// The names of the first skipped images, with the reasons.
    pub(crate) unreadable: Vec<UnreadableImage>,
    /// The bytes of one decoded image.
    pub(crate) image_bytes: usize,
    /// The seconds that building the shard took.
    pub(crate) seconds: f64,
    pixels: PixelStore,
}

impl Shard {
    /// Returns the rows of a selection in the shard's order. Training rows whose content hash is in `dropped`, which
    /// must be sorted, are left out.
    pub(crate) fn select(&self, rows: Rows, spec: &ModelSpec, dropped: &[u64]) -> Vec<Row> {
        let wanted = |row: &&Row| match rows {
            Rows::All => true,
            Rows::Training => !spec.is_held_out(row.key),
            Rows::HeldOut => spec.is_held_out(row.key),
        };
        let kept = |row: &&Row| rows == Rows::HeldOut || dropped.binary_search(&row.content).is_err();
        self.rows.iter().filter(wanted).filter(kept).copied().collect()
    }

    /// Replaces the content of `out` by the concatenated images of these rows.
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
