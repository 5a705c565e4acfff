//! `vgg16`: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
//! (arXiv 1409.1556), configuration D: 138 million parameters at a thousand classes, 134 million at one output. Tensors
//! are named as torchvision names them.

use super::layers::{Conv2d, Dropout, Kernel, Layer, Layers, Linear, Pool2d};
use super::{Defaults, Input, Net, TensorNames};

/// Nothing is normalised inside it: steps larger than its own default do not come back.
pub(super) static VGG16: Net = Net {
    name: "vgg16",
    summary: "thirteen convolutions without normalisation and three wide layers",
    paper: Some("Simonyan & Zisserman 2014 (1409.1556)"),
    names: TensorNames::Torchvision,
    defaults: Defaults { learning_rate: 1e-4, ..Defaults::COMMON },
    layers,
};

/// Convolutions and width of each stage; a maximum over 2 x 2 pixels follows each.
const STAGES: [(usize, i64); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
const HIDDEN: i64 = 4096;
/// Side of what the fully connected layers see.
const POOLED: i64 = 7;

fn layers(input: &Input) -> Layers {
    let (mut width, mut place) = (input.channels, 0);
    let mut features = Vec::new();
    for (depth, outputs) in STAGES {
        for _ in 0..depth {
            let conv = Conv2d::new(format!("features.{place}"), (width, outputs), Kernel::THREE).with_bias();
            features.extend([Layer::Conv2d(conv), Layer::Relu]);
            width = outputs;
            // A convolution and ReLU each have a place in the sequence.
            place += 2;
        }
        features.push(Layer::MaxPool2d(Pool2d::HALF));
        place += 1;
    }
    let mut classify = vec![Layer::AdaptiveAvgPool2d { side: POOLED }, Layer::Flatten];
    for (name, inputs) in [("classifier.0", width * POOLED * POOLED), ("classifier.3", HIDDEN)] {
        let hidden = Layer::Linear(Linear::new(name, inputs, HIDDEN));
        classify.extend([hidden, Layer::Relu, Layer::Dropout(Dropout { name: name.to_owned(), fraction: 0.5 })]);
    }
    Layers { features, classify, head: Linear::new("classifier.6", HIDDEN, input.outputs) }
}
