//! Tests of the measured statistics against a computation in f64 on all rows at once.

use std::sync::atomic::AtomicBool;

use tch::{Device, Kind, Tensor};
use tusk_core::event::NoProgress;
use tusk_core::ids::WorkerId;
use tusk_core::manifest::{FileRef, ModelDefinition, Preprocessing};
use tusk_core::options::{Architecture, Freeze};
use tusk_core::physical::TaskOutput;

use super::*;
use crate::nets::layout::to_vec;
use crate::nets::loaded::initial_state;
use crate::testing::{Record, cache, definition, environment, shard, squares, squares_shard, task};

/// The job. Its file of weights is not read in these tests.
fn job(batch_size: u32) -> Adapt {
    Adapt { weights: FileRef { path: String::new(), checksum: String::new() }, net: 1, batch_size }
}

fn measured(definition: &ModelDefinition, shard: &Shard, batch_size: u32) -> Statistics {
    tch::set_num_threads(2);
    let task = task(definition, 1);
    let (report, found) = measure(&environment(&task), &job(batch_size), shard, &initial_state(definition)).unwrap();
    assert_eq!(report.task.rows, shard.rows.len() as u64);
    found.check(report.task.rows).unwrap();
    found
}

/// The statistics of all workers, from their task outputs.
fn together(parts: &[Statistics]) -> Statistics {
    let mut total = Statistics::default();
    for (worker, part) in (0..).zip(parts) {
        for batch in part.rows(WorkerId(worker)) {
            for output in TaskOutput::rows(&batch.unwrap()).unwrap() {
                total.fold(&output).unwrap();
            }
        }
    }
    total
}

fn layer<'a>(statistics: &'a Statistics, name: &str) -> &'a LayerStatistics {
    statistics.layers().find(|(layer, _)| *layer == name).unwrap().1
}

/// The net inputs of all rows, `[n, 1, 32, 32]`.
fn inputs(definition: &ModelDefinition, shard: &Shard, kind: Kind) -> Tensor {
    let images = BatchLoader::once(&definition.preprocessing, Device::Cpu).batch(shard, &shard.rows).unwrap();
    let Preprocessing { mean, std, .. } = definition.preprocessing;
    (images.permute([0, 3, 1, 2]).to_kind(kind) / 255.0 - mean) / std
}

/// The statistics at the first normalisation of `cnn`, in f64 on all rows at once. Only its input does not depend on
/// the other rows of a batch.
fn reference(definition: &ModelDefinition, shard: &Shard) -> LayerStatistics {
    let state = initial_state(definition);
    let weight = state.get("conv1.weight").unwrap();
    let shape: Vec<i64> = weight.shape.iter().map(|side| *side as i64).collect();
    let weight = Tensor::from_slice(&weight.data).to_kind(Kind::Double).view(shape.as_slice());
    let x = inputs(definition, shard, Kind::Double).pixel_unshuffle(4);
    let x = x.conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
    let mean = x.mean_dim(&[0_i64, 2, 3][..], true, Kind::Double);
    let variance = (&x - &mean).square().mean_dim(&[0_i64, 2, 3][..], false, Kind::Double);
    let values = |tensor: &Tensor| Vec::<f64>::try_from(tensor.flatten(0, -1)).unwrap();
    LayerStatistics { rows: shard.rows.len() as u64, mean: values(&mean), variance: values(&variance) }
}

fn assert_near(found: &LayerStatistics, wanted: &LayerStatistics, bound: f64) {
    assert_eq!((found.rows, found.mean.len()), (wanted.rows, wanted.mean.len()));
    let pairs = found.mean.iter().zip(&wanted.mean).chain(found.variance.iter().zip(&wanted.variance));
    let difference = pairs.map(|(found, wanted)| (found - wanted).abs() / wanted.abs().max(1.0)).fold(0.0, f64::max);
    assert!(difference < bound, "{difference}");
}

#[test]
fn the_statistics_are_those_of_all_rows_for_any_size_of_batch() {
    let (definition, shard) = (definition(Architecture::CNN), squares_shard(41));
    let wanted = reference(&definition, &shard);
    for batch_size in [2, 8, 40, 64] {
        assert_near(layer(&measured(&definition, &shard, batch_size), "bn1"), &wanted, 1e-5);
    }
}

#[test]
fn two_workers_measure_what_one_measures() {
    let (definition, records) = (definition(Architecture::CNN), squares(48));
    let cache = cache(1 << 30, 0);
    let part = |worker, workers| measured(&definition, &shard(&cache, &records, worker, workers, 32).unwrap(), 8);
    let (whole, halves) = (part(0, 1), together(&[part(0, 2), part(1, 2)]));
    halves.check(48).unwrap();
    assert_near(layer(&halves, "bn1"), layer(&whole, "bn1"), 1e-6);
    assert_eq!(together(std::slice::from_ref(&whole)), whole);
}

#[test]
fn the_statistics_are_reproducible_to_the_bit_and_independent_of_the_order_of_the_table() {
    let (definition, records) = (definition(Architecture::CNN), squares(24));
    let reversed: Vec<Record> = records.iter().rev().cloned().collect();
    let cache = cache(1 << 30, 0);
    let [one, other] = [&records, &reversed].map(|records| {
        let shard = shard(&cache, records, 0, 1, 32).unwrap();
        measured(&definition, &shard, 8)
    });
    assert_eq!(one, other);
}

#[test]
fn a_net_that_is_adapted_to_one_batch_predicts_as_it_computes_in_training() {
    for architecture in [Architecture::CNN, Architecture::DENSENET121, Architecture::EFFICIENTNET_B0] {
        let (definition, shard) = (definition(architecture), squares_shard(16));
        let state = initial_state(&definition);
        let adapted = measured(&definition, &shard, 16).mixed_into(&state, 1.0).unwrap();
        let x = inputs(&definition, &shard, Kind::Float);
        let outputs = |state: &ModelState, pass| {
            let loaded = LoadedNet::new(&definition, state, "the test").unwrap();
            to_vec(&no_grad(|| loaded.net.forward(&loaded.params, &x, pass)).unwrap()).unwrap()
        };
        let (wanted, found) = (outputs(&state, Pass::Measure), outputs(&adapted, Pass::Predict));
        let size = wanted.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
        let difference = wanted.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-2 * size, "{architecture}: {difference} of {size}");
        assert_ne!(outputs(&state, Pass::Predict), found, "{architecture}");
    }
}

#[test]
fn a_frozen_backbone_is_measured_like_any_other() {
    let (mut definition, shard) = (definition(Architecture::CNN), squares_shard(16));
    let free = measured(&definition, &shard, 8);
    definition.spec.start.freeze = Freeze::Backbone;
    assert_eq!(measured(&definition, &shard, 8), free);
}

#[test]
fn a_worker_without_images_measures_nothing_and_one_with_one_image_is_refused() {
    let definition = definition(Architecture::CNN);
    let task = task(&definition, 1);
    let found = |count| measure(&environment(&task), &job(8), &squares_shard(count), &initial_state(&definition));
    let (report, statistics) = found(0).unwrap();
    assert_eq!((report, statistics), (AdaptReport::default(), Statistics::default()));
    let message = found(1).unwrap_err().to_string();
    assert_eq!(message, "worker 0 has one image, and needs at least two; use fewer workers");
}

#[test]
fn a_single_remaining_row_is_in_the_batch_before_it() {
    let shard = squares_shard(17);
    let sizes = |size| batches(&shard.rows, size).iter().map(|batch| batch.len()).collect::<Vec<_>>();
    assert_eq!(sizes(4), [4, 4, 4, 5]);
    assert_eq!(sizes(5), [5, 5, 5, 2]);
    assert_eq!(sizes(16), [17]);
    assert_eq!(sizes(100), [17]);
    assert_eq!(sizes(1), [2, 2, 2, 2, 2, 2, 2, 3]);
}

#[test]
fn a_cancelled_task_stops_at_the_next_batch() {
    let definition = definition(Architecture::CNN);
    let (task, cancelled) = (task(&definition, 1), AtomicBool::new(true));
    let env = TaskEnvironment {
        task: &task,
        worker: WorkerId(0),
        cancelled: &cancelled,
        progress: &NoProgress,
        device: Device::Cpu,
    };
    let stopped = measure(&env, &job(8), &squares_shard(16), &initial_state(&definition));
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
}
