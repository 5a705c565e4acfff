//! Creates small tables, models and tasks for the tests of this crate.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use datafusion::arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use tusk_core::event::NoProgress;
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::job::{EpochSlice, Rows, Selection, Train, TrainTask};
use tusk_core::manifest::{ModelDefinition, Preprocessing};
use tusk_core::options::{Architecture, Augment, Device, Loss, ModelSpec, Precision};
use tusk_core::schedule;
use tusk_pixels::{Channels, Pixels, encode};

use crate::error::Result;
use crate::shard::{CacheLimits, Shard, ShardBuilder, ShardCache};
use crate::train::trainer::TaskEnvironment;

/// A row of a table: image, label, group, name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) image: Option<Vec<u8>>,
    pub(crate) label: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) name: Option<String>,
}

/// The records as a batch with the columns that the training operator reads.
pub(crate) fn table(records: &[Record]) -> RecordBatch {
    let text =
        |of: fn(&Record) -> Option<&str>| -> ArrayRef { Arc::new(records.iter().map(of).collect::<StringArray>()) };
    let images: BinaryArray = records.iter().map(|record| record.image.as_deref()).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("image", Arc::new(images) as ArrayRef, true),
        ("label", text(|r| r.label.as_deref()), true),
        ("group", text(|r| r.group.as_deref()), true),
        ("name", text(|r| r.name.as_deref()), true),
    ])
    .unwrap()
}

/// An encoded grey image; `level` gives the grey level at a column and row.
pub(crate) fn encoded_image(side: u32, format: &str, level: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let data = (0..side * side).map(|i| level(i % side, i / side)).collect();
    encode(&Pixels::new(side, side, Channels::Grey, data).unwrap(), format, 95).unwrap()
}

/// Images of 32 x 32 pixels with a bright square on the left or on the right. Noise makes each image unique.
pub(crate) fn squares(count: u32) -> Vec<Record> {
    (0..count)
        .map(|i| {
            let is_left = i % 2 == 0;
            let (left, top) = (if is_left { 3 } else { 19 } + i % 3, 4 + i * 5 % 14);
            let image = encoded_image(32, if i % 3 == 0 { "jpeg" } else { "png" }, |x, y| {
                let inside = (left..left + 10).contains(&x) && (top..top + 10).contains(&y);
                let speckle = ((x * 7 + y * 13 + i * 31).wrapping_mul(2_654_435_761) >> 27) as u8;
                if inside { 180 + speckle } else { 40 + speckle }
            });
            let label = Some(if is_left { "left" } else { "right" }.to_owned());
            Record { image: Some(image), label, group: None, name: Some(format!("{i}.png")) }
        })
        .collect()
}

/// A shard cache with these limits in the system's temporary folder.
pub(crate) fn cache(memory_bytes_max: u64, disk_bytes_max: u64) -> Arc<ShardCache> {
    let folder: PathBuf = std::env::temp_dir();
    Arc::new(ShardCache::new(CacheLimits { memory_bytes_max, disk_bytes_max, folder }))
}

/// The shard builder of one worker for grey images of `side` x `side` pixels.
pub(crate) fn builder(cache: &Arc<ShardCache>, worker: u32, workers: u32, side: u32) -> ShardBuilder {
    let cancelled = Arc::new(AtomicBool::new(false));
    ShardBuilder::new(
        Arc::clone(cache),
        (WorkerId(worker), workers),
        &Preprocessing::plain(side, 1, 0.0, 1.0),
        2,
        cancelled,
    )
}

/// The shard of one worker, from a table that is read in batches of seven rows.
pub(crate) fn shard(
    cache: &Arc<ShardCache>,
    records: &[Record],
    worker: u32,
    workers: u32,
    side: u32,
) -> Result<Shard> {
    let mut builder = builder(cache, worker, workers, side);
    records.chunks(7).try_for_each(|rows| builder.push(&table(rows)))?;
    builder.finish()
}

/// The shard of a single worker that holds all of the squares.
pub(crate) fn squares_shard(count: u32) -> Shard {
    shard(&cache(1 << 30, 0), &squares(count), 0, 1, 32).unwrap()
}

/// A model of the squares on the CPU in f32, with a constant learning rate and without augmentation. Only the initial
/// weights and the order of the rows are random.
pub(crate) fn definition(architecture: Architecture) -> ModelDefinition {
    ModelDefinition {
        spec: ModelSpec::new(architecture).with(|spec| {
            spec.training.epochs = 4;
            spec.training.batch_size = 8;
            spec.optimizer.schedule = schedule::constant::SCHEDULE;
            spec.input.image_size = 32;
            spec.input.augment = Augment::default();
            spec.split.validation_fraction = 0.0;
            spec.distribution.device = Device::Cpu;
        }),
        classes: vec!["left".into(), "right".into()],
        positive: Some(1),
        loss: Loss::BinaryCrossentropy,
        precision: Precision::F32,
        preprocessing: Preprocessing::plain(32, 1, 0.3, 0.2),
        class_weights: vec![1.0, 1.0],
    }
}

/// The job that trains one epoch.
pub(crate) fn epoch(epoch: u32) -> Train {
    let selection = Selection { rows: Rows::Training, dropped: Vec::new() };
    Train { selection, epoch, slice: EpochSlice::WHOLE, weights: None }
}

/// The task that trains one epoch.
pub(crate) fn task(definition: &ModelDefinition, epoch_number: u32) -> TrainTask {
    TrainTask {
        run: RunId::from("run-test".to_owned()),
        workers: 1,
        threads: 2,
        definition: definition.clone(),
        store: String::new(),
        source_checksum: "cd".repeat(32),
        job: epoch(epoch_number).into(),
    }
}

/// The environment of the first worker, for a task that is never cancelled.
pub(crate) fn environment(task: &TrainTask) -> TaskEnvironment<'_> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    TaskEnvironment { task, worker: WorkerId(0), cancelled: &NEVER, progress: &NoProgress, device: tch::Device::Cpu }
}
