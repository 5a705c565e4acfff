//! Builds a shard from batches of rows: hashes every image, selects the worker's rows, and decodes those on several
//! threads.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use tusk_core::ids::WorkerId;
use tusk_core::job::UnreadableImage;
use tusk_core::manifest::Preprocessing;
use tusk_core::random::content_hash;
use tusk_pixels::{ImageColumn, Pixels, perceptual_hash};

use super::cache::{Reservation, ShardCache};
use super::{PixelStore, Row, Shard};
use crate::error::{Error, Result};
use crate::runtime::parallel;

/// The number of unreadable images that are reported by name. The others are only counted.
const UNREADABLE_MAX: usize = 20;

/// The bytes of one chunk of pixels in memory.
const CHUNK_BYTES: usize = 8 << 20;

/// The pixels of a shard that is being built.
enum Growing {
    Memory { chunks: Vec<Vec<u8>>, reservations: Vec<Reservation> },
    Disk { file: BufWriter<File>, path: String, reservations: Vec<Reservation> },
}

/// Builds the shard of one worker.
pub(crate) struct ShardBuilder {
    cache: Arc<ShardCache>,
    worker: WorkerId,
    workers: u32,
    preprocessing: Preprocessing,
    threads: usize,
    cancelled: Arc<AtomicBool>,
    started: Instant,
    rows: Vec<Row>,
    labels: Vec<String>,
    label_codes: HashMap<String, u32>,
    null_labels: u64,
    skipped: u64,
    unreadable: Vec<UnreadableImage>,
    rows_seen: u64,
    pixels: Growing,
}

/// A row of this worker whose image is not decoded yet.
struct Candidate {
    index: usize,
    content: u64,
    name: String,
}

impl ShardBuilder {
    pub(crate) fn new(
        cache: Arc<ShardCache>,
        (worker, workers): (WorkerId, u32),
        preprocessing: &Preprocessing,
        threads: usize,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        Self {
            cache,
            worker,
            workers,
            preprocessing: preprocessing.clone(),
            threads: threads.max(1),
            cancelled,
            started: Instant::now(),
            rows: Vec::new(),
            labels: Vec::new(),
            label_codes: HashMap::new(),
            null_labels: 0,
            skipped: 0,
            unreadable: Vec::new(),
            rows_seen: 0,
            pixels: Growing::Memory { chunks: Vec::new(), reservations: Vec::new() },
        }
    }

    fn image_bytes(&self) -> usize {
        let Preprocessing { image_size, channels, .. } = self.preprocessing;
        (image_size * image_size) as usize * usize::from(channels)
    }

    fn images_per_chunk(&self) -> usize {
        (CHUNK_BYTES / self.image_bytes()).max(1)
    }

    /// The number of images decoded so far, and the seconds since the start.
    pub(crate) fn progress(&self) -> (u64, f64) {
        (self.rows.len() as u64, self.started.elapsed().as_secs_f64())
    }

    /// Adds the worker's rows of a batch. Its columns are image, label, group and name.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let images =
            ImageColumn::try_new(batch.column(0).as_ref()).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let [labels, groups, names] = [1, 2, 3].map(|column| text(batch.column(column)));
        let (labels, groups, names) = (labels?, groups?, names?);
        let mut candidates = Vec::new();
        for index in 0..batch.num_rows() {
            let place = self.rows_seen + index as u64;
            // A row without an image has no content hash and is assigned to the first worker.
            let content = if images.is_null(index) { 0 } else { content_hash(images.content(index)) };
            if content % u64::from(self.workers) != u64::from(self.worker.0) {
                continue;
            }
            let name = if names.is_null(index) { format!("row {place}") } else { names.value(index).to_owned() };
            if labels.is_null(index) {
                self.null_labels += 1;
            } else if images.is_null(index) {
                self.refuse(name, "it is NULL".to_owned());
            } else {
                candidates.push(Candidate { index, content, name });
            }
        }
        self.rows_seen += batch.num_rows() as u64;
        for (candidate, pixels) in candidates.iter().zip(self.decode(&images, &candidates)) {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            match pixels {
                Err(reason) => self.refuse(candidate.name.clone(), reason),
                Ok(pixels) => {
                    let group = (!groups.is_null(candidate.index)).then(|| groups.value(candidate.index));
                    let label = self.label_code(labels.value(candidate.index));
                    self.keep((candidate.content, perceptual_hash(&pixels)), label, group, &pixels.data)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the shard of all batches.
    pub(crate) fn finish(mut self) -> Result<Shard> {
        let (image_bytes, images_per_chunk) = (self.image_bytes(), self.images_per_chunk());
        let pixels = match self.pixels {
            Growing::Memory { chunks, reservations } => {
                PixelStore::Memory { chunks, images_per_chunk, _reservations: reservations }
            }
            Growing::Disk { file, path, reservations } => {
                let file =
                    file.into_inner().map_err(|e| Error::ShardFile { path: path.clone(), source: e.into_error() })?;
                PixelStore::Disk { file, path, _reservations: reservations }
            }
        };
        let mut labels = self.labels.clone();
        labels.sort_unstable();
        let codes: HashMap<&str, u32> = labels.iter().map(String::as_str).zip(0_u32..).collect();
        for row in &mut self.rows {
            row.label = codes[self.labels[row.label as usize].as_str()];
        }
        // This order does not depend on the order of the table.
        self.rows.sort_unstable();
        Ok(Shard {
            rows: self.rows,
            labels,
            rows_seen: self.rows_seen,
            null_labels: self.null_labels,
            skipped: self.skipped,
            unreadable: self.unreadable,
            image_bytes,
            seconds: self.started.elapsed().as_secs_f64(),
            pixels,
        })
    }

    /// Decodes and preprocesses images on several threads. The results are in the order of the candidates.
    fn decode(&self, images: &ImageColumn<'_>, candidates: &[Candidate]) -> Vec<Result<Pixels, String>> {
        let preprocessing = &self.preprocessing;
        let one = |candidate: &Candidate| images.input(candidate.index, preprocessing).map_err(|e| e.to_string());
        let panicked = || Err("the decoder panicked".to_owned());
        let decoded = parallel::map(candidates.len(), self.threads, |index| one(&candidates[index]));
        decoded.into_iter().map(|pixels| pixels.unwrap_or_else(panicked)).collect()
    }

    fn refuse(&mut self, name: String, reason: String) {
        self.skipped += 1;
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.push(UnreadableImage { name, reason });
        }
    }

    fn label_code(&mut self, label: &str) -> u32 {
        if let Some(code) = self.label_codes.get(label) {
            return *code;
        }
        let code = self.labels.len() as u32;
        self.labels.push(label.to_owned());
        self.label_codes.insert(label.to_owned(), code);
        code
    }

    fn keep(
        &mut self,
        (content, perceptual): (u64, u64),
        label: u32,
        group: Option<&str>,
        pixels: &[u8],
    ) -> Result<()> {
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let key = group.map_or(content, |group| content_hash(group.as_bytes()));
        let sum = pixels.iter().map(|p| u64::from(*p)).sum();
        let square_sum = pixels.iter().map(|p| u64::from(*p) * u64::from(*p)).sum();
        self.rows.push(Row { content, label, key, perceptual, sum, square_sum, place });
        self.append(pixels)
    }

    fn append(&mut self, pixels: &[u8]) -> Result<()> {
        let chunk_bytes = self.images_per_chunk() * self.image_bytes();
        if let Growing::Memory { chunks, reservations } = &mut self.pixels {
            let is_full = chunks.last().is_none_or(|chunk| chunk.len() == chunk_bytes);
            match (is_full, is_full.then(|| self.cache.reserve_memory(chunk_bytes as u64)).flatten()) {
                (true, Some(reservation)) => {
                    reservations.push(reservation);
                    chunks.push(Vec::with_capacity(chunk_bytes));
                }
                (true, None) => self.spill()?,
                (false, _) => {}
            }
        }
        match &mut self.pixels {
            Growing::Memory { chunks, .. } => {
                if let Some(chunk) = chunks.last_mut() {
                    chunk.extend_from_slice(pixels);
                }
                Ok(())
            }
            Growing::Disk { file, path, reservations } => {
                reservations.push(self.cache.reserve_disk(pixels.len() as u64)?);
                file.write_all(pixels).map_err(|source| Error::ShardFile { path: path.clone(), source })
            }
        }
    }

    /// Moves the pixels from memory to a temporary file, which is deleted with the shard.
    fn spill(&mut self) -> Result<()> {
        let path = self.cache.folder().display().to_string();
        let failed = |source| Error::ShardFile { path: path.clone(), source };
        let mut file = BufWriter::new(tempfile::tempfile_in(self.cache.folder()).map_err(failed)?);
        let mut reservations = Vec::new();
        if let Growing::Memory { chunks, .. } = &self.pixels {
            for chunk in chunks {
                reservations.push(self.cache.reserve_disk(chunk.len() as u64)?);
                file.write_all(chunk).map_err(failed)?;
            }
        }
        tracing::info!(images = self.rows.len(), folder = %path, "the shard exceeds the memory limit and moves to disk");
        self.pixels = Growing::Disk { file, path, reservations };
        Ok(())
    }
}

/// Converts a column to text, because labels may also be numbers or booleans.
fn text(column: &ArrayRef) -> Result<StringArray> {
    let column = cast(column, &DataType::Utf8).map_err(DataFusionError::from)?;
    Ok(column.as_string::<i32>().clone())
}
