//! Augments copies of one image, for the tests of the steps.

use tch::{Device, Kind};
use tusk_core::augment::Transform;
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;

use super::{Draw, InputPipeline};
use crate::input::batch_loader::on_device;
use crate::nets::layout::to_vec;

/// The number of copies.
const COPIES: u64 = 60;

/// A pipeline with one transform for grey images, without normalisation.
pub(super) fn pipeline(kind: Transform, side: usize) -> InputPipeline {
    let preprocessing = Preprocessing::plain(side as u32, 1, 0.0, 1.0);
    InputPipeline::new(&preprocessing, Augment::of([kind]), 5, Device::Cpu, Kind::Float).unwrap()
}

/// The values, of 0 to 1, of the grey images with these content hashes. All show the same.
pub(super) fn values(pipeline: &InputPipeline, image: &[u8], side: usize, hashes: &[u64]) -> Vec<Vec<f32>> {
    let images = on_device(&image.repeat(hashes.len()), &[side as i64, side as i64, 1], Device::Cpu).unwrap();
    let values = to_vec(&pipeline.input(&images, hashes, 1).unwrap()).unwrap();
    values.chunks_exact(side * side).map(<[f32]>::to_vec).collect()
}

/// Changes copies of a grey image, and returns the values of each with its draw.
pub(super) fn changed(kind: Transform, image: &[u8], side: usize) -> Vec<(Vec<f32>, Draw)> {
    let (pipeline, hashes) = (pipeline(kind, side), (0..COPIES).collect::<Vec<u64>>());
    let draws = hashes.iter().map(|hash| pipeline.draw(*hash, 1));
    values(&pipeline, image, side, &hashes).into_iter().zip(draws).collect()
}
