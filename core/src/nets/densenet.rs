//! `densenet121`: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional Networks", 2016
//! (arXiv 1608.06993), the net of CheXNet (arXiv 1711.05225). Tensors are named as torchvision names them.

use super::layers::{BatchNorm2d, Conv2d, ConvBn2d, Kernel, Layer, Layers, Linear, Pool2d};
use super::{Defaults, Input, Net, TensorNames};

/// The net.
pub(super) static DENSENET121: Net = Net {
    name: "densenet121",
    summary: "each layer takes the outputs of all earlier layers; the net of CheXNet",
    paper: Some("Huang et al. 2016 (1608.06993)"),
    names: TensorNames::Torchvision,
    defaults: Defaults::COMMON,
    layers,
};

const STEM: i64 = 64;
/// Layers of each block.
const BLOCKS: [usize; 4] = [6, 12, 24, 16];
/// Channels that a layer adds, and that its first convolution makes.
const GROWTH: i64 = 32;
const SQUEEZED: i64 = 4 * GROWTH;

fn layers(input: &Input) -> Layers {
    let names = ("features.conv0", "features.norm0");
    let stem = ConvBn2d::new(names, (input.channels, STEM), Kernel { side: 7, stride: 2 });
    let mut features = vec![Layer::ConvBn2d(stem), Layer::MaxPool2d(Pool2d::OVERLAPPING), Layer::Relu];
    let mut width = STEM;
    for (place, depth) in (1..).zip(BLOCKS) {
        for layer in 1..=depth {
            features.push(dense(&format!("features.denseblock{place}.denselayer{layer}"), width));
            width += GROWTH;
        }
        if place < BLOCKS.len() {
            features.extend(transition(&format!("features.transition{place}"), width));
            width /= 2;
        }
    }
    features.extend([Layer::BatchNorm2d(BatchNorm2d::new("features.norm5", width)), Layer::Relu]);
    Layers { features, classify: vec![Layer::GlobalAvgPool], head: Linear::new("classifier", width, input.outputs) }
}

/// Normalisation and ReLU before each of its two convolutions. The output is concatenated with the input.
fn dense(name: &str, inputs: i64) -> Layer {
    let squeeze = ConvBn2d::new((format!("{name}.conv1"), format!("{name}.norm2")), (inputs, SQUEEZED), Kernel::POINT);
    let branch = vec![
        Layer::BatchNorm2d(BatchNorm2d::new(format!("{name}.norm1"), inputs)),
        Layer::Relu,
        Layer::ConvBn2d(squeeze),
        Layer::Relu,
        Layer::Conv2d(Conv2d::new(format!("{name}.conv2"), (SQUEEZED, GROWTH), Kernel::THREE)),
    ];
    Layer::DenseConcat { branch }
}

/// Half the channels, a quarter of the positions.
fn transition(name: &str, inputs: i64) -> [Layer; 4] {
    [
        Layer::BatchNorm2d(BatchNorm2d::new(format!("{name}.norm"), inputs)),
        Layer::Relu,
        Layer::Conv2d(Conv2d::new(format!("{name}.conv"), (inputs, inputs / 2), Kernel::POINT)),
        Layer::AvgPool2d(Pool2d::HALF),
    ]
}
