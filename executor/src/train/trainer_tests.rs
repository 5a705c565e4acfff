//! Tests of training on a small table: reproducibility, learning, cancellation, and averaging over workers.

use std::sync::atomic::AtomicBool;

use tch::{Device, Kind, Tensor};
use tusk_core::job::{EpochSlice, Rows, Scores, Train, TrainReport, Validate};
use tusk_core::manifest::{FileRef, ModelDefinition};
use tusk_core::nets::{Layer, Layers, Linear};
use tusk_core::options::{Architecture, Augment, Features, Freeze, Loss, ModelSpec, Optimizer as Algorithm, Precision};
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::Error;
use crate::job::train::train_epoch;
use crate::job::validate::score;
use crate::nets::layout::{Init, Layout, Params};
use crate::nets::loaded::{LoadedNet, initial_state};
use crate::nets::{Network, Pass};
use crate::predict::scorer::Scorer;
use crate::shard::Shard;
use crate::testing::{Record, cache, definition, environment, epoch, shard, squares, squares_shard, task};
use crate::train::optimizer::Optimizer;
use crate::train::trainer::TaskEnvironment;

/// Trains all epochs of a definition and returns a report per epoch and the last state.
pub(crate) fn train(definition: &ModelDefinition, shard: &Shard) -> (Vec<TrainReport>, ModelState) {
    tch::set_num_threads(2);
    let (task, mut state) = (task(definition, 1), initial_state(definition));
    let reports = (1..=definition.spec.training.epochs)
        .map(|number| {
            let env = environment(&task);
            let (report, tensors) = train_epoch(&env, &epoch(number), shard, &state).unwrap();
            state = ModelState::new(tensors);
            report
        })
        .collect();
    (reports, state)
}

/// The job that scores all rows. Its file of weights is not read in these tests.
fn validation() -> Validate {
    let weights = FileRef { path: String::new(), checksum: String::new() };
    Validate { rows: Rows::All, epoch: 1, weights, copies: 0 }
}

fn scores(definition: &ModelDefinition, shard: &Shard, state: &ModelState) -> Scores {
    score(&environment(&task(definition, 1)), &validation(), shard, state).unwrap().1
}

/// The fraction of rows whose most probable class is the true one.
fn accuracy(scores: &Scores) -> f64 {
    let rows = scores.probabilities.chunks_exact(2).zip(&scores.truth);
    let right = rows.filter(|(p, truth)| u32::from(p[1] > p[0]) == **truth).count();
    right as f64 / scores.truth.len() as f64
}

pub(crate) fn bits(state: &ModelState) -> Vec<(&str, Vec<u32>)> {
    state.iter().map(|t| (t.name.as_str(), t.data.iter().map(|v| v.to_bits()).collect())).collect()
}

#[test]
fn training_is_reproducible_to_the_bit_and_independent_of_the_order_of_the_table() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.input.augment = Augment::xray();
    definition.spec.training.epochs = 2;
    let records = squares(24);
    let reversed: Vec<Record> = records.iter().rev().cloned().collect();
    let cache = cache(1 << 30, 0);
    let [a, b] = [&records, &reversed].map(|records| {
        let (reports, state) = train(&definition, &shard(&cache, records, 0, 1, 32).unwrap());
        assert!(reports.iter().all(|report| report.task.rows == 24));
        (reports.iter().map(|r| r.loss_sum.to_bits()).collect::<Vec<_>>(), state)
    });
    assert_eq!(a.0, b.0);
    assert!(bits(&a.1) == bits(&b.1));
    definition.spec.training.seed += 1;
    let (_, other) = train(&definition, &squares_shard(24));
    assert!(bits(&a.1) != bits(&other));
}

#[test]
fn an_epoch_in_slices_equals_the_whole_epoch_to_the_bit_for_a_single_worker() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.input.augment = Augment::xray();
    definition.spec.training.batch_size = 4;
    definition.spec.optimizer.ema = Some(0.9);
    let shard = squares_shard(27);
    tch::set_num_threads(2);
    let task = task(&definition, 1);
    let env = environment(&task);
    let (expected, whole_state) = train_epoch(&env, &epoch(1), &shard, initial_state(&definition)).unwrap();
    let (mut rows, mut loss_sum, mut state) = (0, 0.0, initial_state(&definition));
    for index in 0..3 {
        let job = Train { slice: EpochSlice { index, count: 3 }, ..epoch(1) };
        let (report, tensors) = train_epoch(&env, &job, &shard, &state).unwrap();
        rows += report.task.rows;
        loss_sum += report.loss_sum;
        state = ModelState::new(tensors);
    }
    assert_eq!((rows, expected.task.rows), (27, 27));
    assert!((loss_sum - expected.loss_sum).abs() < 1e-9, "{loss_sum} is not {}", expected.loss_sum);
    assert!(bits(&state) == bits(&ModelState::new(whole_state)));
    // With more slices than batches, some slices have no rows and return no weights.
    let job = Train { slice: EpochSlice { index: 0, count: 50 }, ..epoch(1) };
    let (report, tensors) = train_epoch(&env, &job, &shard, &state).unwrap();
    assert_eq!((report.task.rows, tensors.len()), (0, 0));
}

/// Trains on the squares and asserts that the loss falls and that the net learns the classes.
fn assert_learns(definition: &ModelDefinition) {
    let shard = squares_shard(48);
    let (reports, state) = train(definition, &shard);
    let losses: Vec<f64> = reports.iter().map(|report| report.loss_sum / report.task.rows as f64).collect();
    let what = format!("{:?} with {:?}: losses {losses:?}", definition.loss, definition.spec.optimizer.algorithm);
    assert!(losses[0].is_finite() && losses.last().unwrap() < &(0.5 * losses[0]), "{what}");
    let scores = scores(definition, &shard, &state);
    assert_eq!(scores.truth.len(), 48);
    assert!(scores.probabilities.chunks_exact(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-5));
    assert!(accuracy(&scores) > 0.95, "{what}, accuracy {}", accuracy(&scores));
}

#[test]
fn every_optimizer_learns_an_easy_task() {
    for (optimizer, learning_rate) in [(Algorithm::Sgd, 0.05), (Algorithm::Adam, 3e-3), (Algorithm::Adamw, 3e-3)] {
        let mut definition = definition(Architecture::CNN);
        definition.spec.optimizer.algorithm = optimizer;
        definition.spec.optimizer.learning_rate = learning_rate;
        definition.spec.optimizer.weight_decay = 1e-3;
        definition.spec.training.epochs = 6;
        assert_learns(&definition);
    }
}

#[test]
fn every_loss_learns_an_easy_task_with_either_class_positive() {
    for loss in [Loss::BinaryCrossentropy, Loss::CategoricalCrossentropy, Loss::MeanSquaredError, Loss::Hinge] {
        for positive in [0, 1] {
            let mut definition = ModelDefinition { loss, positive: Some(positive), ..definition(Architecture::CNN) };
            definition.spec.training.epochs = 6;
            assert_learns(&definition);
        }
    }
}

#[test]
fn a_support_vector_machine_learns_an_easy_task_from_pixels_and_from_gradients() {
    for features in [Features::Pixels, Features::Hog] {
        let mut definition = ModelDefinition { loss: Loss::Hinge, ..definition(Architecture::SVM) };
        definition.spec.net.features = features;
        definition.spec.optimizer.learning_rate = 1e-2;
        definition.spec.training.epochs = 6;
        assert_learns(&definition);
    }
}

#[test]
fn the_moving_average_equals_a_computation_by_hand_and_is_validated() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.optimizer.ema = Some(0.9);
    definition.spec.training.batch_size = 8;
    definition.spec.training.epochs = 1;
    let shard = squares_shard(8);
    let (_, after) = train(&definition, &shard);
    let (before, average) = (initial_state(&definition), after.moving_average().unwrap());
    // In the first step the decay is 2 / 11, which is less than 0.9.
    for name in ["fc.weight", "layer1.0.conv1.weight", "bn1.running_mean"] {
        let [before, after, average] = [&before, &after, &average].map(|state| &state.get(name).unwrap().data);
        for ((before, after), average) in before.iter().zip(after).zip(average) {
            let wanted = before + (after - before) * 9.0 / 11.0;
            assert!((average - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{name}: {average} should be {wanted}");
        }
        assert_ne!(before, after);
    }
    let [with, of_average] = [&after, &average].map(|state| scores(&definition, &shard, state).probabilities);
    assert_eq!(with, of_average);
    assert_ne!(with, scores(&definition, &shard, &after.without_optimizer()).probabilities);
}

#[test]
fn the_average_over_views_does_not_depend_on_the_other_images_of_the_batch() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.training.epochs = 2;
    let (_, state) = train(&definition, &squares_shard(24));
    let probabilities = |tta, images: &Tensor| {
        let spec = definition.spec.clone().with(|spec| spec.prediction.tta = tta);
        let definition = ModelDefinition { spec, ..definition.clone() };
        Scorer::new(Device::Cpu, &definition, &state, "the test").unwrap().probabilities(images).unwrap()
    };
    let images = Tensor::randint_low(0, 256, [3, 32, 32, 1], (Kind::Uint8, Device::Cpu));
    let [one, five] = [1, 5].map(|tta| probabilities(tta, &images));
    assert_ne!(one, five);
    assert!(five.chunks_exact(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-5));
    for row in 0..3 {
        let alone = probabilities(5, &images.narrow(0, row, 1));
        let beside = &five[2 * row as usize..][..2];
        assert!(alone.iter().zip(beside).all(|(a, b)| (a - b).abs() < 1e-5), "{alone:?} and {beside:?}");
    }
}

#[test]
fn a_frozen_backbone_keeps_its_weights_and_the_last_layer_learns() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.start.freeze = Freeze::Backbone;
    definition.spec.optimizer.weight_decay = 0.1;
    definition.spec.training.epochs = 1;
    let (_, after) = train(&definition, &squares_shard(16));
    let before = initial_state(&definition);
    for tensor in after.iter().filter(|tensor| !tensor.name.starts_with("optimizer.")) {
        assert_eq!(before.get(&tensor.name) != Some(tensor), tensor.name.starts_with("fc."), "{}", tensor.name);
    }
}

#[test]
fn bf16_learns_an_easy_task_and_keeps_its_weights_in_f32() {
    let mut definition = ModelDefinition { precision: Precision::Bf16, ..definition(Architecture::CNN) };
    definition.spec.training.epochs = 6;
    assert_learns(&definition);
}

#[test]
fn a_cancelled_task_trains_and_scores_nothing() {
    let definition = definition(Architecture::CNN);
    let (task, cancelled) = (task(&definition, 1), AtomicBool::new(true));
    let env = TaskEnvironment { cancelled: &cancelled, ..environment(&task) };
    let (shard, state) = (squares_shard(8), initial_state(&definition));
    assert!(matches!(train_epoch(&env, &epoch(1), &shard, &state), Err(Error::Cancelled)));
    assert!(matches!(score(&env, &validation(), &shard, &state), Err(Error::Cancelled)));
}

#[test]
fn a_worker_without_rows_returns_no_weights() {
    let definition = definition(Architecture::CNN);
    let empty = shard(&cache(0, 0), &[], 0, 1, 32).unwrap();
    let (report, tensors) =
        train_epoch(&environment(&task(&definition, 1)), &epoch(1), &empty, initial_state(&definition)).unwrap();
    assert!(report.task.rows == 0 && tensors.is_empty());
}

#[test]
fn training_never_uses_held_out_rows() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.split.validation_fraction = 0.4;
    let shard = squares_shard(24);
    let training = shard.select(Rows::Training, &definition.spec, &[]);
    assert!(training.len() < 24 && !training.is_empty());
    let (report, tensors) =
        train_epoch(&environment(&task(&definition, 1)), &epoch(1), &shard, initial_state(&definition)).unwrap();
    assert_eq!(report.task.rows, training.len() as u64);
    // The same epoch with a table of only the training rows.
    let kept: Vec<u64> = training.iter().map(|row| row.content).collect();
    let content = |record: &Record| tusk_core::random::content_hash(record.image.as_deref().unwrap());
    let records: Vec<Record> = squares(24).into_iter().filter(|record| kept.contains(&content(record))).collect();
    let alone = crate::testing::shard(&cache(1 << 30, 0), &records, 0, 1, 32).unwrap();
    let (_, wanted) =
        train_epoch(&environment(&task(&definition, 1)), &epoch(1), &alone, initial_state(&definition)).unwrap();
    assert!(bits(&ModelState::new(tensors)) == bits(&ModelState::new(wanted)));
}

#[test]
fn a_class_that_the_model_does_not_have_is_an_error() {
    let definition = definition(Architecture::CNN);
    let mut records = squares(4);
    records[0].label = Some("upside down".into());
    let shard = shard(&cache(1 << 30, 0), &records, 0, 1, 32).unwrap();
    let task = task(&definition, 1);
    let refusal = score(&environment(&task), &validation(), &shard, &initial_state(&definition));
    let refusal = refusal.unwrap_err().to_string();
    assert!(refusal.contains("a class that the training rows do not have"), "{refusal}");
}

#[test]
fn a_class_with_weight_zero_does_not_contribute_to_the_loss() {
    let definition = ModelDefinition { class_weights: vec![1.0, 0.0], ..definition(Architecture::CNN) };
    let right: Vec<Record> = squares(12).into_iter().filter(|r| r.label.as_deref() == Some("right")).collect();
    let shard = shard(&cache(1 << 30, 0), &right, 0, 1, 32).unwrap();
    let (report, _) =
        train_epoch(&environment(&task(&definition, 1)), &epoch(1), &shard, initial_state(&definition)).unwrap();
    assert_eq!((report.task.rows, report.loss_sum), (6, 0.0));
}

/// The weights of a linear net after one step of plain SGD on some rows of a fixed batch. The net has no batch
/// normalisation, so its gradient is a mean over rows.
fn linear_step(first: i64, count: i64) -> Vec<f64> {
    let mut definition = definition(Architecture::CNN);
    definition.spec.optimizer.algorithm = Algorithm::Sgd;
    definition.spec.optimizer.momentum = 0.0;
    definition.spec.optimizer.weight_decay = 0.1;
    definition.spec.optimizer.learning_rate = 0.5;
    let head = Linear::new("fc", 16, 1);
    let (net, layout) = Network::new(&Layers { features: Vec::new(), classify: vec![Layer::Flatten], head });
    let state = layout.initial_state(7);
    let mut loaded = LoadedNet::new(&definition, &initial_state(&definition), "the start").unwrap();
    loaded.net = net;
    loaded.params = Params::load(layout, &state, "the start", (Device::Cpu, Kind::Float), "").unwrap();
    let mut optimizer = Optimizer::new(&definition.spec, &loaded.params, &state).unwrap();
    let x = (Tensor::arange(6 * 16, (Kind::Float, Device::Cpu)) * 0.7).sin().view([6, 1, 4, 4]).narrow(0, first, count);
    let truth = Tensor::from_slice(&[0_i64, 1, 1, 0, 1, 0]).narrow(0, first, count);
    let outputs = loaded.net.forward(&loaded.params, &x, Pass::Train { seed: 1 }).unwrap();
    loaded.row_losses(&outputs, &truth).unwrap().mean(Kind::Float).backward();
    optimizer.step(&mut loaded.params, definition.spec.optimizer.learning_rate).unwrap();
    loaded.params.state().unwrap().iter().flat_map(|t| &t.data).map(|v| f64::from(*v)).collect()
}

#[test]
fn the_weighted_mean_of_two_workers_equals_the_step_of_one() {
    let (one, first, second) = (linear_step(0, 6), linear_step(0, 4), linear_step(4, 2));
    let mut largest = 0.0_f64;
    for ((one, first), second) in one.iter().zip(&first).zip(&second) {
        assert!((one - (4.0 * first + 2.0 * second) / 6.0).abs() < 1e-6);
        largest = largest.max((first - second).abs());
    }
    assert!(largest > 1e-2, "the weights of the two workers differ by {largest}");
}

/// The constants of tests/reference/optimizers.py.
const START: [f32; 3] = [1.0, -2.0, 0.5];
const TARGET: [f32; 3] = [0.25, 1.0, -1.0];
const CURVATURE: [f32; 3] = [1.0, 2.0, 3.0];
const LEARNING_RATE: f64 = 0.1;

/// The parameters after each of three steps. Before the last step, the optimizer's state is saved and loaded, as
/// between two epochs. `piece` parameters are updated at a time.
fn three_steps(optimizer: Algorithm, weight_decay: f64, piece: usize) -> Vec<f32> {
    let mut spec = ModelSpec::new(Architecture::CNN);
    spec.optimizer.algorithm = optimizer;
    spec.optimizer.weight_decay = weight_decay;
    spec.optimizer.momentum = 0.9;
    let mut layout = Layout::default();
    let weight = layout.weight("w".into(), &[1, 2], Init::Constant(0.0));
    let bias = layout.weight("b".into(), &[1], Init::Constant(0.0));
    let state = ModelState::new([
        NamedTensor { name: "w".into(), shape: vec![1, 2], data: START[..2].to_vec() },
        NamedTensor { name: "b".into(), shape: vec![1], data: START[2..].to_vec() },
    ]);
    let mut params = Params::load(layout, &state, "the start", (Device::Cpu, Kind::Float), "").unwrap();
    let mut optimizer = Optimizer::new(&spec, &params, &ModelState::default()).unwrap();
    let mut values = Vec::new();
    for step in 0..3 {
        if step == 2 {
            let moments = ModelState::new(optimizer.state().unwrap());
            optimizer = Optimizer::new(&spec, &params, &moments).unwrap();
        }
        let all = Tensor::cat(&[params.weight(weight).view([-1]), params.weight(bias).view([-1])], 0);
        let difference = (all - Tensor::from_slice(&TARGET)).square() * Tensor::from_slice(&CURVATURE);
        (difference.sum(Kind::Float) * 0.5).backward();
        optimizer.step_by_pieces(&mut params, LEARNING_RATE, piece).unwrap();
        values.extend(params.state().unwrap().into_iter().flat_map(|tensor| tensor.data));
    }
    values
}

#[test]
fn optimizers_agree_with_pytorch_and_continue_from_saved_moments() {
    let reference = include_str!("../../tests/reference/optimizers.txt");
    let mut compared = 0;
    for line in reference.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let (algorithm, decay) = (Algorithm::from_name(words[0]).unwrap(), words[1].parse().unwrap());
        let found = three_steps(algorithm, decay, usize::MAX);
        assert_eq!(found.len(), words[2..].len());
        assert_eq!(
            three_steps(algorithm, decay, 2),
            found,
            "{line}: the result differs if two weights are updated at a time"
        );
        for (found, wanted) in found.iter().zip(&words[2..]) {
            let wanted: f64 = wanted.parse().unwrap();
            assert!((f64::from(*found) - wanted).abs() < 2e-6, "{line}\n{found} should be {wanted}");
            compared += 1;
        }
    }
    assert_eq!(compared, 6 * 9);
}

#[test]
fn copies_of_validation_rows_are_changed_as_in_training_and_are_the_same_each_time() {
    let shard = squares_shard(24);
    let mut definition = definition(Architecture::CNN);
    definition.spec.input.augment = Augment::from_text("xray").unwrap();
    let state = initial_state(&definition);
    let copies = |copies| {
        let job = Validate { copies, ..validation() };
        score(&environment(&task(&definition, 1)), &job, &shard, &state).unwrap().1
    };
    let (as_is, one, three) = (copies(0), copies(1), copies(3));
    assert_eq!((as_is.truth.len(), one.truth.len(), three.truth.len()), (24, 24, 72));
    assert_ne!(one.probabilities, as_is.probabilities);
    assert_eq!(copies(3), three);
    definition.spec.input.augment = Augment::default();
    let unchanged = Validate { copies: 1, ..validation() };
    let unchanged = score(&environment(&task(&definition, 1)), &unchanged, &shard, &state).unwrap().1;
    // Only rows as they are have content hashes.
    assert_eq!((unchanged.truth, unchanged.probabilities), (as_is.truth, as_is.probabilities));
}
