//! Access to private parts of this crate for the micro-benchmarks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use datafusion::arrow::record_batch::RecordBatch;
use tch::{Device, Kind, Tensor};
use tusk_core::ids::WorkerId;
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;

use crate::error::Result;
use crate::input::augment::InputPipeline;
use crate::shard::{CacheLimits, ShardBuilder, ShardCache};

/// Decodes rows with the columns image, label, group and name into a shard of grey images on one thread, and returns
/// the number of rows in the shard.
///
/// # Errors
/// When the rows have other columns.
pub fn build_shard(rows: &RecordBatch, side: u32) -> Result<usize> {
    let cache = Arc::new(ShardCache::new(CacheLimits::default()));
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut builder =
        ShardBuilder::new(cache, (WorkerId(0), 1), &Preprocessing::plain(side, 1, 0.0, 1.0), 1, cancelled);
    builder.push(rows)?;
    Ok(builder.finish()?.rows.len())
}

/// A batch of grey images and the pipeline that turns them into net inputs.
#[derive(Debug)]
pub struct Batch {
    pipeline: InputPipeline,
    images: Tensor,
    hashes: Vec<u64>,
}

impl Batch {
    /// Creates one image per content hash on the CPU. The images contain all grey levels.
    ///
    /// # Errors
    /// When libtorch cannot allocate memory.
    pub fn new(hashes: Vec<u64>, side: u32, augment: Augment) -> Result<Self> {
        let preprocessing = Preprocessing::plain(side, 1, 0.5, 0.25);
        let pipeline = InputPipeline::new(&preprocessing, augment, 42, Device::Cpu, Kind::Float)?;
        let size = [hashes.len() as i64, i64::from(side), i64::from(side), 1];
        let levels = Tensor::f_arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu))?;
        let images = levels.f_remainder(256)?.f_to_kind(Kind::Uint8)?.f_view(size)?;
        Ok(Self { pipeline, images, hashes })
    }

    /// Computes the net inputs of an epoch.
    ///
    /// # Errors
    /// When libtorch cannot allocate memory.
    pub fn input(&self, epoch: u32) -> Result<()> {
        self.pipeline.input(&self.images, &self.hashes, epoch).map(drop)
    }
}
