//! The workloads that several benchmarks share.

pub mod cluster;
pub mod model;
pub mod probe;
pub mod simulated;
pub mod spans;

use std::io;

use datafusion::arrow::record_batch::RecordBatch;
use tusk::synthetic::{SyntheticOptions, draw};
use tusk_core::ids::WorkerId;
use tusk_core::job::{TaskReport, TrainReport};
use tusk_core::physical::{report_rows, tensor_rows};
use tusk_core::state::NamedTensor;

/// Side of the images before preprocessing, in pixels.
pub const IMAGE_SIDE: u32 = 224;

/// Side of the default net's input, in pixels.
pub const NET_SIDE: u32 = 128;

/// Values in one worker's update: the default net with its two moments.
pub const UPDATE_VALUES: usize = 3 * 440_000;

/// Rows that one worker's update represents.
pub const UPDATE_ROWS: u64 = 1000;

/// A synthetic X-ray as JPEG.
///
/// # Errors
/// When the image cannot be encoded.
pub fn image() -> io::Result<Vec<u8>> {
    Ok(draw(&SyntheticOptions { size: IMAGE_SIDE, ..SyntheticOptions::default() }, 1, 1)?.image)
}

/// The task output of a worker: its report and one tensor of [`UPDATE_VALUES`].
///
/// # Errors
/// When the rows cannot be encoded.
pub fn output(worker: u32) -> Result<Vec<RecordBatch>, Box<dyn std::error::Error>> {
    let report = TrainReport { task: TaskReport::of_rows(UPDATE_ROWS), ..TrainReport::default() };
    let data = (0..UPDATE_VALUES).map(|i| i as f32 * 1e-6).collect();
    let tensor = NamedTensor { name: "w".into(), shape: vec![UPDATE_VALUES], data };
    let worker = WorkerId(worker);
    let report = report_rows(worker, &report)?.into_iter().map(Ok);
    Ok(report.chain(tensor_rows(worker, &tensor)).collect::<Result<_, _>>()?)
}
