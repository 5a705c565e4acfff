//! Tests of the nets against PyTorch. `tests/reference/nets.py` computes the reference values.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::nets::{Layer, Layers, Linear, NETS};
use tusk_core::options::{Architecture, Device as WantedDevice, Loss, Precision};
use tusk_core::state::{ModelState, NamedTensor};

use super::layers::Dropout;
use super::layout::Params;
use super::{Network, Pass, layers};
use crate::nets::layout::to_vec;
use crate::nets::loaded::{LoadedNet, initial_state};
use crate::testing::definition;

const TRAIN: Pass = Pass::Train { seed: 7 };

/// Pseudorandom numbers in [-1, 1) with 24 bits each, by splitmix64 from the FNV-1a hash of the name.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    (1..=count as u64)
        .map(|i| {
            let z = start.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
        })
        .collect()
}

/// The weights of the reference, which a formula gives.
fn formula_state(definition: &ModelDefinition) -> ModelState {
    let unity = ["running_var", "bn1.weight", "bn2.weight", "downsample.1.weight"];
    // The batch normalisations of `cnn_reference` have numbers as names.
    let unity = unity.into_iter().chain(["features.1.weight", "features.5.weight"]);
    let unity = unity.chain(["features.9.weight", "features.13.weight"]);
    let dense = ["norm0.weight", "norm1.weight", "norm2.weight", "norm.weight", "norm5.weight"];
    let unity: Vec<&str> = unity.chain(dense).collect();
    ModelState::new(initial_state(definition).iter().map(|tensor| {
        let (start, scale) = if tensor.shape.len() > 1 {
            (0.0, (6.0 / tensor.shape[1..].iter().product::<usize>() as f64).sqrt())
        } else if unity.iter().any(|end| tensor.name.ends_with(end)) {
            (1.0, 0.2)
        } else {
            (0.0, 0.1)
        };
        let data = uniform(&tensor.name, tensor.data.len()).iter().map(|u| (start + scale * u) as f32).collect();
        NamedTensor { name: tensor.name.clone(), shape: tensor.shape.clone(), data }
    }))
}

fn input() -> Tensor {
    let values: Vec<f32> = uniform("input", 2 * 64 * 64).into_iter().map(|u| u as f32).collect();
    Tensor::from_slice(&values).view([2, 1, 64, 64])
}

/// The lines of nets.txt for one net, keyed by their second and third word.
fn reference(net: &str) -> HashMap<(&'static str, &'static str), Vec<f64>> {
    let lines = include_str!("../../tests/reference/nets.txt").lines();
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(net)).then(|| {
                let key = (words.next().unwrap(), words.next().unwrap());
                (key, words.map(|word| word.parse().unwrap()).collect())
            })
        })
        .collect()
}

/// The allowed relative difference.
const TOLERANCE: f64 = 1e-4;

/// The allowed relative difference of gradients of deep nets. There, a few of a million ReLUs or maxima differ between
/// f32 and f64. PyTorch's own gradients of resnet50 in f32 differ by up to 1.3e-3 from those in f64.
const DEEP: f64 = 5e-3;

/// The same for 121 layers. PyTorch's own gradients of densenet121 in f32, channels last, differ by up to 5.8e-3 from
/// those in f64 in layers before the last ReLU that differs. In later layers they agree to 2e-5.
const DEEPER: f64 = 2e-2;

/// Asserts that two values differ by at most `bound`.
fn assert_near(found: f64, wanted: f64, bound: f64, what: &str) {
    assert!((found - wanted).abs() <= bound, "{what}: {found} should be {wanted} (within {bound})");
}

fn assert_outputs(found: &Tensor, wanted: &[f64], what: &str) {
    let found = to_vec(found).unwrap();
    assert_eq!(found.len(), wanted.len());
    let size = wanted.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    found.iter().zip(wanted).for_each(|(f, w)| assert_near(f64::from(*f), *w, TOLERANCE * size, what));
}

/// Compares a tensor with its sum, its sum of squares and its first four values.
fn assert_tensor(found: &[f32], wanted: &[f64], tolerance: f64, what: &str) {
    let [sum, squares, first @ ..] = wanted else { panic!("{what}: a sum and a sum of squares") };
    let found: Vec<f64> = found.iter().map(|v| f64::from(*v)).collect();
    let norm = squares.sqrt();
    assert_near(found.iter().map(|v| v * v).sum(), *squares, tolerance * squares, what);
    assert_near(found.iter().sum(), *sum, tolerance * norm.max(sum.abs()), what);
    let typical = norm / (found.len() as f64).sqrt();
    found.iter().zip(first).for_each(|(f, w)| assert_near(*f, *w, tolerance * typical.max(w.abs()), what));
}

/// Compares a net with its reference. `trained` is the pass for the comparison of training; `tolerance` applies to
/// gradients.
fn assert_agrees_with_pytorch(name: &str, definition: &ModelDefinition, trained: Pass, tolerance: f64) {
    let wanted = reference(name);
    let mut loaded = LoadedNet::new(definition, &formula_state(definition), "the formula").unwrap();
    assert_eq!(
        loaded.params.flat().numel() as f64,
        wanted[&("all", "parameters")][0],
        "the net is not the one that tests/reference/nets.py transcribes; change it there and run it again"
    );
    let x = input();
    let outputs = no_grad(|| loaded.net.forward(&loaded.params, &x, Pass::Predict)).unwrap();
    assert_outputs(&outputs, &wanted[&("eval", "outputs")], "outputs of prediction");
    loaded = loaded.folded().unwrap();
    let folded = no_grad(|| loaded.net.forward(&loaded.params, &x, Pass::Predict)).unwrap();
    assert_outputs(&folded, &wanted[&("eval", "outputs")], "outputs of folded prediction");
    let has_normalisation = loaded.params.state().unwrap().iter().any(|tensor| tensor.name.ends_with("running_mean"));
    assert_eq!(
        to_vec(&folded).unwrap() != to_vec(&outputs).unwrap(),
        has_normalisation,
        "folding changes a net with batch normalisation and no other"
    );

    let outputs = loaded.net.forward(&loaded.params, &x, trained).unwrap();
    assert_outputs(&outputs, &wanted[&("train", "outputs")], "outputs of training");
    let loss = loaded.row_losses(&outputs, &Tensor::from_slice(&[0_i64, 1])).unwrap().mean(Kind::Float);
    let wanted_loss = wanted[&("train", "loss")][0];
    assert_near(loss.double_value(&[]), wanted_loss, TOLERANCE * wanted_loss, "loss");
    loss.backward();

    let gradient = to_vec(&Tensor::cat(&loaded.params.gradients().unwrap(), 0)).unwrap();
    let (mut start, mut compared) = (0, 0);
    for tensor in loaded.params.state().unwrap() {
        let found = gradient.get(start..start + tensor.data.len());
        start += tensor.data.len();
        if let Some(wanted) = wanted.get(&("gradient", tensor.name.as_str())) {
            assert_tensor(found.unwrap(), wanted, tolerance, &format!("gradient of {}", tensor.name));
            compared += 1;
        }
        if let Some(wanted) = wanted.get(&("buffer", tensor.name.as_str())) {
            assert_tensor(&tensor.data, wanted, TOLERANCE, &tensor.name);
            compared += 1;
        }
    }
    assert_eq!(compared, wanted.len() - 4, "every tensor of the reference is in the net");
    loaded.params.zero_gradients();
    assert_eq!(Tensor::cat(&loaded.params.gradients().unwrap(), 0).abs().max().double_value(&[]), 0.0);
}

#[test]
fn resnet18_agrees_with_torchvision_forward_and_backward() {
    let two_logits = ModelDefinition { loss: Loss::CategoricalCrossentropy, ..definition(Architecture::RESNET18) };
    assert_agrees_with_pytorch("resnet18", &two_logits, TRAIN, TOLERANCE);
}

#[test]
fn resnet50_agrees_with_torchvision_forward_and_backward() {
    assert_agrees_with_pytorch("resnet50", &definition(Architecture::RESNET50), TRAIN, DEEP);
}

#[test]
fn vgg16_agrees_with_torchvision_forward_and_backward() {
    // Without dropout, because PyTorch draws other random numbers.
    assert_agrees_with_pytorch("vgg16", &definition(Architecture::VGG16), Pass::Predict, DEEP);
}

#[test]
fn densenet121_agrees_with_torchvision_forward_and_backward() {
    assert_agrees_with_pytorch("densenet121", &definition(Architecture::DENSENET121), TRAIN, DEEPER);
}

#[test]
fn dropout_zeroes_half_of_the_values_by_seed_and_doubles_the_rest() {
    let x = Tensor::ones([10, 1000], (Kind::Float, Device::Cpu));
    let dropped = |layer: &str, pass| {
        let dropout = tusk_core::nets::Dropout { name: layer.to_owned(), fraction: 0.5 };
        to_vec(&Dropout::new(&dropout).forward(&x, pass).unwrap()).unwrap()
    };
    let once = dropped("first", Pass::Train { seed: 1 });
    assert!(once.iter().all(|value| [0.0, 2.0].contains(value)));
    let kept = once.iter().filter(|value| **value > 0.0).count();
    assert!((4800..5200).contains(&kept), "{kept} of 10,000");
    assert_eq!(once, dropped("first", Pass::Train { seed: 1 }));
    assert_ne!(once, dropped("first", Pass::Train { seed: 2 }));
    assert_ne!(once, dropped("second", Pass::Train { seed: 1 }));
    assert_eq!(dropped("first", Pass::Predict), vec![1.0; 10_000]);
}

#[test]
fn dropout_keeps_the_mean_for_other_fractions_and_stochastic_depth_drops_whole_images() {
    let x = Tensor::ones([2000, 5], (Kind::Float, Device::Cpu));
    let layer = tusk_core::nets::Dropout { name: "block".to_owned(), fraction: 0.2 };
    let dropout = Dropout::new(&layer);
    let values = to_vec(&dropout.forward(&x, TRAIN).unwrap()).unwrap();
    assert!(values.iter().all(|value| [0.0, 1.25].contains(value)));
    let kept = values.iter().filter(|value| **value > 0.0).count();
    assert!((7800..8200).contains(&kept), "{kept} of 10,000");
    let images = to_vec(&dropout.of_images(&x, TRAIN).unwrap()).unwrap();
    assert!(images.chunks(5).all(|image| image.iter().all(|value| *value == image[0])));
    let kept = images.chunks(5).filter(|image| image[0] == 1.25).count();
    assert!((1540..1660).contains(&kept), "{kept} of 2,000");
    assert_eq!(to_vec(&dropout.of_images(&x, Pass::Predict).unwrap()).unwrap(), vec![1.0; 10_000]);
}

#[test]
fn every_net_has_the_described_last_layer() {
    for name in Architecture::NAMES {
        let architecture = Architecture::from_name(name).unwrap();
        if architecture == Architecture::VGG16 {
            continue; // It has half a gigabyte of weights. Its comparison with PyTorch covers the layer.
        }
        let definition = definition(architecture);
        let head = layers(&definition.spec, &definition.preprocessing, 1).head;
        let shape = [1, usize::try_from(head.inputs).unwrap()];
        let weight =
            initial_state(&definition).get(&format!("{}.weight", head.name)).map(|tensor| tensor.shape.clone());
        assert_eq!(weight.as_deref(), Some(&shape[..]), "{name}");
    }
}

#[test]
fn the_number_of_parameters_of_a_description_is_that_of_its_net() {
    for net in NETS {
        let definition = definition(Architecture::Net(net));
        let layers = layers(&definition.spec, &definition.preprocessing, 3);
        assert_eq!(Network::new(&layers).1.numel(), layers.parameters(), "{}", net.name);
    }
}

#[test]
fn values_that_are_used_again_are_not_changed_in_place() {
    // ReLU of the input, of a view of it, and of the output of ReLU, and a branch that ends in ReLU.
    let branch = vec![Layer::Relu, Layer::Relu];
    let residual = Layer::Residual { branch, shortcut: Vec::new() };
    let layers = Layers {
        features: vec![Layer::Relu, residual],
        classify: vec![Layer::Flatten, Layer::Relu],
        head: Linear::new("fc", 4, 1),
    };
    let (net, layout) = Network::new(&layers);
    let state = layout.initial_state(1);
    let params = Params::load(layout, &state, "the start", (Device::Cpu, Kind::Float), "").unwrap();
    let x = Tensor::from_slice(&[-1.0_f32, 2.0, -3.0, 4.0]).view([1, 1, 2, 2]).set_requires_grad(true);
    let maps = net.features(&params, &x, TRAIN).unwrap();
    let _ = net.classify(&params, &(&maps - 5.0), TRAIN).unwrap();
    assert_eq!(to_vec(&x).unwrap(), [-1.0, 2.0, -3.0, 4.0]);
    assert_eq!(to_vec(&maps).unwrap(), [0.0, 4.0, 0.0, 8.0]);
    maps.sum(Kind::Float).backward();
    assert_eq!(to_vec(&x.grad()).unwrap(), [0.0, 2.0, 0.0, 2.0]);
}

#[test]
fn cnn_agrees_with_its_transcription_in_pytorch_forward_and_backward() {
    assert_agrees_with_pytorch("cnn", &definition(Architecture::CNN), TRAIN, TOLERANCE);
}

#[test]
fn cnn_reference_agrees_with_its_sequential_in_pytorch_forward_and_backward() {
    assert_agrees_with_pytorch("cnn_reference", &definition(Architecture::CNN_REFERENCE), TRAIN, TOLERANCE);
}

#[test]
fn bf16_convolutions_are_close_to_those_of_f32_and_outputs_are_f32() {
    let f32 = definition(Architecture::CNN);
    let bf16 = ModelDefinition { precision: Precision::Bf16, ..f32.clone() };
    let state = formula_state(&f32);
    let outputs = [f32, bf16].map(|definition| {
        let loaded = LoadedNet::new(&definition, &state, "the formula").unwrap();
        let outputs = loaded.net.forward(&loaded.params, &input().to_kind(loaded.kind), TRAIN).unwrap();
        assert_eq!(outputs.kind(), Kind::Float);
        let running: Vec<NamedTensor> = loaded.params.state().unwrap();
        let mean = running.into_iter().find(|tensor| tensor.name == "bn1.running_mean").unwrap();
        [to_vec(&outputs).unwrap(), mean.data].concat()
    });
    let size = outputs[0].iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let difference = outputs[0].iter().zip(&outputs[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // bf16 has 8 bits of precision, so the outputs differ by a few per cent.
    assert!(difference > 0.0 && difference < 0.05 * size, "{outputs:?}");
}

#[test]
fn running_statistics_stay_finite_for_a_batch_with_one_value_per_channel() {
    // An image of 32 pixels is 1 x 1 in ResNet's last stage, and a batch may have a single image.
    let definition = definition(Architecture::RESNET18);
    let loaded = LoadedNet::new(&definition, &initial_state(&definition), "the start").unwrap();
    let outputs = loaded.net.forward(&loaded.params, &input().narrow(0, 0, 1).narrow(2, 0, 32).narrow(3, 0, 32), TRAIN);
    assert!(to_vec(&outputs.unwrap()).unwrap()[0].is_finite());
    for tensor in loaded.params.state().unwrap() {
        assert!(tensor.data.iter().all(|v| v.is_finite()), "{}", tensor.name);
    }
}

#[test]
fn weights_of_another_net_are_refused_with_the_name_of_the_tensor() {
    let definition = definition(Architecture::CNN);
    let state = initial_state(&definition);
    let refusal = |state: &ModelState| LoadedNet::new(&definition, state, "model lungs").unwrap_err().to_string();

    let without = ModelState::new(state.iter().filter(|tensor| tensor.name != "fc.bias").cloned());
    assert_eq!(refusal(&without), "the weights of model lungs do not fit: tensor fc.bias is missing");

    let bent = ModelState::new(state.iter().cloned().map(|tensor| match tensor.name.as_str() {
        "fc.bias" => NamedTensor { shape: vec![2], data: vec![0.0; 2], ..tensor },
        _ => tensor,
    }));
    assert_eq!(refusal(&bent), "the weights of model lungs do not fit: fc.bias is [2] and should be [1]");
}

#[test]
fn a_missing_device_is_refused_with_an_alternative() {
    let mut definition = definition(Architecture::CNN);
    definition.spec.distribution.device = WantedDevice::Cuda(4096);
    let refusal = LoadedNet::new(&definition, &initial_state(&definition), "the start").unwrap_err().to_string();
    let reason = match tch::Cuda::device_count() {
        0 => "this machine or this build of libtorch has no CUDA device",
        _ => "the machine has fewer devices",
    };
    assert_eq!(refusal, format!("device cuda:4096 not found: {reason}; use device = 'auto' or 'cpu'"));
    definition.spec.distribution.device = WantedDevice::Cpu;
    assert_eq!(LoadedNet::new(&definition, &initial_state(&definition), "the start").unwrap().device, Device::Cpu);
}

#[test]
fn initial_weights_follow_from_the_seed() {
    let definition = definition(Architecture::CNN);
    let mut other = definition.clone();
    other.spec.training.seed += 1;
    assert_eq!(initial_state(&definition), initial_state(&definition));
    assert_ne!(initial_state(&definition).get("conv1.weight"), initial_state(&other).get("conv1.weight"));
    let state = initial_state(&definition);
    let weights = &state.get("layer3.0.conv2.weight").unwrap().data;
    let variance = weights.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / weights.len() as f64;
    let outputs = state.get("layer3.0.conv2.weight").unwrap().shape[0];
    assert!((variance * (outputs * 9) as f64 / 2.0 - 1.0).abs() < 0.02, "He's variance, not {variance}");
}
