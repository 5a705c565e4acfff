//! Tests of mixup: one step is compared with a computation by hand, and whole epochs are reproducible to the bit.

use tch::Tensor;
use tusk_core::job::{EpochSlice, Train};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::{Architecture, Augment, Features, Optimizer as Algorithm};
use tusk_core::state::ModelState;

use crate::job::train::train_epoch;
use crate::nets::loaded::initial_state;
use crate::shard::{Row, Shard};
use crate::testing::{definition, environment, epoch, squares_shard, task};
use crate::train::mixup::Mixup;
use crate::train::trainer::Learner;
use crate::train::trainer_tests::{bits, train};

const CLASS_WEIGHTS: [f64; 2] = [1.0, 2.0];
const LEARNING_RATE: f64 = 0.1;

/// The weight of the image itself in the first step of the first worker.
fn share(seed: u64) -> f64 {
    let mixup = Mixup::draw(1.0, seed, &[1, 0, 0]).unwrap();
    mixup.mix(&Tensor::from_slice(&[1.0_f64]), &Tensor::from_slice(&[0.0_f64])).unwrap().double_value(&[0])
}

/// A linear net of pixels that is trained with plain SGD, so that its loss and its step can be computed by hand.
fn linear(seed: u64) -> ModelDefinition {
    let class_weights = CLASS_WEIGHTS.to_vec();
    let mut definition = ModelDefinition { class_weights, ..definition(Architecture::SVM) };
    definition.spec.net.features = Features::Pixels;
    definition.spec.optimizer.algorithm = Algorithm::Sgd;
    definition.spec.optimizer.momentum = 0.0;
    definition.spec.optimizer.weight_decay = 0.0;
    definition.spec.optimizer.learning_rate = LEARNING_RATE;
    definition.spec.input.mixup = 1.0;
    definition.spec.training.batch_size = 8;
    definition.spec.training.seed = seed;
    definition
}

/// The net inputs of these rows, each followed by a 1 for the bias, and the rows' classes.
fn net_inputs(shard: &Shard, rows: &[Row]) -> (Vec<Vec<f64>>, Vec<usize>) {
    let mut pixels = Vec::new();
    shard.gather(rows, &mut pixels).unwrap();
    let level = |pixel: &u8| (f64::from(*pixel) / 255.0 - 0.3) / 0.2;
    let images = pixels.chunks_exact(32 * 32).map(|pixels| pixels.iter().map(level).chain([1.0]).collect());
    let classes = rows.iter().map(|row| usize::from(shard.labels[row.label as usize] == "right"));
    (images.collect(), classes.collect())
}

/// The loss of logistic regression on the mixed images, and the weights after a step.
fn by_hand(images: &[Vec<f64>], classes: &[usize], weights: &[f64], share: f64) -> (f64, Vec<f64>) {
    let count = images.len() as f64;
    let (mut loss, mut after) = (0.0, weights.to_vec());
    let partners = images.iter().zip(classes).rev();
    for ((own, class), (partner, class_of_partner)) in images.iter().zip(classes).zip(partners) {
        let mixed: Vec<f64> = own.iter().zip(partner).map(|(a, b)| share * a + (1.0 - share) * b).collect();
        let logit: f64 = mixed.iter().zip(weights).map(|(x, weight)| x * weight).sum();
        let right = 1.0 / (1.0 + (-logit).exp());
        for (class, share) in [(*class, share), (*class_of_partner, 1.0 - share)] {
            let counts = share * CLASS_WEIGHTS[class] / count;
            loss -= counts * [1.0 - right, right][class].ln();
            let slope = counts * (right - class as f64);
            after.iter_mut().zip(&mixed).for_each(|(weight, x)| *weight -= LEARNING_RATE * slope * x);
        }
    }
    (loss, after)
}

/// The weights of a linear net, followed by its bias.
fn weights(state: &ModelState) -> Vec<f64> {
    let tensors = ["fc.weight", "fc.bias"].map(|name| state.get(name).unwrap());
    tensors.iter().flat_map(|tensor| &tensor.data).map(|value| f64::from(*value)).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_step_mixes_images_and_losses_with_the_same_weights() {
    // With a weight near 0.5 the test could not tell an image from its partner; with a weight near 1 it could not
    // detect mixing at all.
    let seed = (1_u64..).find(|seed| (0.6..0.8).contains(&share(*seed))).unwrap();
    let definition = linear(seed);
    for count in [2, 7] {
        let (shard, state) = (squares_shard(count), initial_state(&definition));
        let task = task(&definition, 1);
        let env = environment(&task);
        let order = Learner::new(&env, &epoch(1).selection, &shard, &state).unwrap().unwrap().order(1);
        let (images, classes) = net_inputs(&shard, &order);
        let (loss, after) = by_hand(&images, &classes, &weights(&state), share(seed));

        let (report, tensors) = train_epoch(&env, &epoch(1), &shard, &state).unwrap();
        assert_eq!(report.task.rows, u64::from(count));
        let found = report.loss_sum / f64::from(count);
        assert!((found - loss).abs() < 1e-6, "{count} images: a loss of {found} should be {loss}");
        let found = weights(&ModelState::new(tensors));
        let difference = largest_difference(&found, &after);
        assert!(difference < 1e-6, "{count} images: weights differ by {difference}");
        let (_, unmixed) = by_hand(&images, &classes, &weights(&state), 1.0);
        assert!(
            largest_difference(&found, &unmixed) > 1e-4,
            "{count} images: the step would be the same without mixup"
        );
    }
}

#[test]
fn training_with_mixup_gives_other_weights_and_is_reproducible_to_the_bit() {
    let shard = squares_shard(24);
    let trained = |mixup| {
        let mut definition = definition(Architecture::CNN);
        definition.spec.input.mixup = mixup;
        definition.spec.training.epochs = 2;
        train(&definition, &shard).1
    };
    let [without, once, again] = [0.0, 0.4, 0.4].map(trained);
    assert!(bits(&without) != bits(&once));
    assert!(bits(&once) == bits(&again));
}

#[test]
fn an_epoch_with_mixup_in_slices_equals_the_whole_epoch_to_the_bit() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.input.augment = Augment::xray();
    definition.spec.input.mixup = 0.4;
    definition.spec.training.batch_size = 4;
    let shard = squares_shard(27);
    tch::set_num_threads(2);
    let task = task(&definition, 1);
    let env = environment(&task);
    let mut state = initial_state(&definition);
    let (_, whole) = train_epoch(&env, &epoch(1), &shard, &state).unwrap();
    for index in 0..3 {
        let job = Train { slice: EpochSlice { index, count: 3 }, ..epoch(1) };
        let (_, tensors) = train_epoch(&env, &job, &shard, &state).unwrap();
        state = ModelState::new(tensors);
    }
    assert!(bits(&state) == bits(&ModelState::new(whole)));
}
