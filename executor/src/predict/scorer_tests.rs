//! Tests of heat maps against their definition.

use tch::{Device, Kind, Tensor, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::{Architecture, Loss};
use tusk_core::state::{ModelState, NamedTensor};

use crate::input::batch_loader::on_device;
use crate::nets::Pass;
use crate::nets::layout::to_vec;
use crate::nets::loaded::{LoadedNet, initial_state};
use crate::predict::scorer::Scorer;
use crate::testing::definition;

const SIDE: i64 = 64;

/// Noisy images that are brighter in the upper left.
fn images(count: i64) -> Tensor {
    let level = |i: i64| {
        let (image, row, column) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
        let speckle = ((column * 7 + row * 13 + image * 31) as u32).wrapping_mul(2_654_435_761) >> 26;
        let is_bright = row + column < 40 + 20 * image;
        (speckle + if is_bright { 130 } else { 40 }) as u8
    };
    let pixels: Vec<u8> = (0..count * SIDE * SIDE).map(level).collect();
    on_device(&pixels, &[SIDE, SIDE, 1], Device::Cpu).unwrap()
}

fn definition_of(architecture: Architecture, loss: Loss) -> ModelDefinition {
    let mut definition = ModelDefinition { loss, ..definition(architecture) };
    definition.preprocessing.image_size = SIDE as u32;
    definition
}

/// The feature maps of images.
fn maps_of(loaded: &LoadedNet, images: &Tensor) -> Tensor {
    let x = (images.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0 - 0.3) / 0.2;
    no_grad(|| loaded.net.features(&loaded.params, &x, Pass::Predict)).unwrap()
}

/// The initial state of a definition with other vectors. Initially the last normalisation of each branch multiplies by
/// 0, which would hide the branches.
fn uneven_state(definition: &ModelDefinition) -> ModelState {
    ModelState::new(initial_state(definition).iter().cloned().map(|mut tensor| {
        if tensor.shape.len() == 1 {
            let about = if tensor.name.ends_with("bias") || tensor.name.ends_with("mean") { 0.0 } else { 1.0 };
            let phase = tensor.name.len();
            let value = |place: usize| about + 0.3 * ((place * 7 + phase) as f32).sin();
            tensor.data = (0..tensor.data.len()).map(value).collect();
        }
        tensor
    }))
}

/// The part of `cnn` after the feature maps, computed in f64: the last block, the mean and the last layer.
fn end_of_cnn(state: &ModelState, maps: &Tensor) -> Tensor {
    let tensor = |name: &str| {
        let NamedTensor { shape, data, .. } = state.get(name).unwrap();
        let shape: Vec<i64> = shape.iter().map(|side| *side as i64).collect();
        Tensor::from_slice(data).to_kind(Kind::Double).view(shape.as_slice())
    };
    let convolved = |x: &Tensor, name: &str, stride: i64, padding: i64| {
        let weight = tensor(&format!("layer4.0.{name}.weight"));
        x.conv2d(&weight, None::<&Tensor>, [stride, stride], [padding, padding], [1, 1], 1)
    };
    let normalised = |x: Tensor, name: &str| {
        let of = |part: &str| tensor(&format!("layer4.0.{name}.{part}")).view([1, -1, 1, 1]);
        (x - of("running_mean")) / (of("running_var") + 1e-5).sqrt() * of("weight") + of("bias")
    };
    let branch = normalised(convolved(maps, "conv1", 2, 1), "bn1").relu();
    let branch = normalised(convolved(&branch, "conv2", 1, 1), "bn2");
    let shortcut = normalised(convolved(maps, "downsample.0", 2, 0), "downsample.1");
    let found = (branch + shortcut).relu().mean_dim(&[2_i64, 3][..], false, Kind::Double);
    found.linear(&tensor("fc.weight"), Some(&tensor("fc.bias")))
}

/// The heat map from feature maps and their weights: scaled to a largest value of 1, and enlarged to the size of the
/// image.
fn heat_map(maps: &Tensor, weights: &Tensor) -> Vec<f32> {
    let heat = (maps * weights).sum_dim_intlist(&[1_i64][..], true, Kind::Double).relu();
    let most = heat.amax(&[1_i64, 2, 3][..], true).clamp_min(1e-30);
    let heat = (heat / most).upsample_bilinear2d([SIDE, SIDE], false, None, None);
    to_vec(&heat.to_kind(Kind::Float)).unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_heat_map_of_cnn_is_the_sum_of_its_maps_times_their_gradients() {
    let images = images(3);
    let (mut from_grad_cam, mut lit) = (0.0_f32, 0);
    for loss in [Loss::BinaryCrossentropy, Loss::CategoricalCrossentropy] {
        let definition = definition_of(Architecture::CNN, loss);
        let state = uneven_state(&definition);
        let scorer = Scorer::new(Device::Cpu, &definition, &state, "the test").unwrap();
        for class in [0_i64, 1] {
            let found = scorer.explain(&images, &[class; 3]).unwrap();
            let maps = maps_of(&scorer.loaded, &images).to_kind(Kind::Double).detach().set_requires_grad(true);
            assert_eq!(maps.size(), [3, 128, 4, 4]);
            let outputs = end_of_cnn(&state, &maps);
            let score = match loss {
                Loss::CategoricalCrossentropy => outputs.select(1, class),
                _ if class == 1 => outputs.select(1, 0),
                _ => -outputs.select(1, 0),
            };
            let gradient = Tensor::run_backward(&[score.sum(Kind::Double)], &[&maps], false, false).remove(0);
            let wanted = heat_map(&maps, &gradient);
            let difference = largest_difference(&found, &wanted);
            assert!(difference < 1e-3, "{loss:?}, class {class}: {difference}");
            lit += wanted.chunks_exact(wanted.len() / 3).filter(|heat| heat.iter().any(|v| *v > 0.5)).count();
            // Grad-CAM uses one weight per map, which gives a different heat map here.
            let grad_cam = heat_map(&maps, &gradient.mean_dim(&[2_i64, 3][..], true, Kind::Double));
            from_grad_cam = from_grad_cam.max(largest_difference(&found, &grad_cam));
        }
    }
    // A region that lowers the score of one of two classes raises that of the other.
    assert!(
        lit >= 3 && from_grad_cam > 0.05,
        "{lit} heat maps are not empty, and the difference to Grad-CAM is {from_grad_cam}"
    );
}

/// The derivative of the score of a class by a factor on the maps at each of their four places, by finite differences.
/// It equals the sum of the maps times their gradients.
fn derivatives(loaded: &LoadedNet, maps: &Tensor, class: i64) -> Vec<f64> {
    // So small that few ReLUs change between zero and non-zero.
    const STEP: f64 = 3e-4;
    let places = Tensor::eye(4, (Kind::Float, Device::Cpu)).view([4, 1, 2, 2]) * STEP;
    let scores = |factors: &Tensor| {
        let outputs = loaded.net.classify(&loaded.params, &(maps * factors), Pass::Predict).unwrap();
        to_vec(&loaded.class_scores(&outputs, &[class; 4]).unwrap()).unwrap()
    };
    let (more, less) = no_grad(|| (scores(&(&places + 1.0)), scores(&(1.0_f64 - &places))));
    more.iter().zip(&less).map(|(more, less)| f64::from(more - less) / (2.0 * STEP)).collect()
}

/// Compares the heat map of a net with finite differences. The net's maps are 2 x 2 here, so the corners of the
/// enlarged map have the values of the four places.
fn assert_agrees_with_finite_differences(architecture: Architecture) {
    let definition = definition_of(architecture, Loss::BinaryCrossentropy);
    let scorer = Scorer::new(Device::Cpu, &definition, &initial_state(&definition), "the test").unwrap();
    let (loaded, images) = (&scorer.loaded, images(1));
    let maps = maps_of(loaded, &images);
    assert_eq!(maps.size()[2..], [2, 2]);
    let outputs = no_grad(|| loaded.net.classify(&loaded.params, &maps, Pass::Predict)).unwrap();
    // Initially no layer after the maps has a bias, so the derivatives add up to the score, which is positive for the
    // predicted class.
    let class = i64::from(outputs.double_value(&[0, 0]) > 0.0);
    let derivatives = derivatives(loaded, &maps, class);
    let most = derivatives.iter().copied().fold(f64::MIN, f64::max);
    let heat = scorer.explain(&images, &[class]).unwrap();
    assert_eq!(heat.len(), (SIDE * SIDE) as usize);
    assert!(heat.iter().all(|value| (0.0..=1.0_f32).contains(value)), "{architecture}");
    let largest = heat.iter().copied().fold(0.0, f32::max);
    assert!((largest - 1.0).abs() < 1e-6 && most > 0.0, "{architecture}: {largest}, derivatives {derivatives:?}");
    let side = SIDE as usize;
    for (corner, derivative) in [0, side - 1, side * (side - 1), side * side - 1].into_iter().zip(&derivatives) {
        let (found, wanted) = (f64::from(heat[corner]), (derivative / most).max(0.0));
        assert!((found - wanted).abs() < 0.05, "{architecture}, pixel {corner}: {found} should be {wanted}");
    }
}

#[test]
fn the_heat_map_of_vgg16_agrees_with_finite_differences() {
    assert_agrees_with_finite_differences(Architecture::VGG16);
}

#[test]
fn the_heat_map_of_resnet50_agrees_with_finite_differences() {
    assert_agrees_with_finite_differences(Architecture::RESNET50);
}

#[test]
fn the_heat_map_of_densenet121_agrees_with_finite_differences() {
    assert_agrees_with_finite_differences(Architecture::DENSENET121);
}
