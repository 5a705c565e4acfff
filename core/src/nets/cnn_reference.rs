//! `cnn_reference`: the plain net that comparisons with other systems train, so that both sides do the same work.
//!
//! Four times a 3 x 3 convolution, normalisation, ReLU and a maximum over 2 x 2 pixels, as VGG does (Simonyan &
//! Zisserman 2014, arXiv 1409.1556), then the mean over the image and two layers: 0.42 million parameters. In PyTorch
//! `features` is a `Sequential` of these sixteen layers, `hidden` and `fc` are `Linear`; `benches/peers/reference.py`
//! has it.

use super::layers::{ConvBn2d, Kernel, Layer, Layers, Linear, Pool2d};
use super::{Defaults, Input, Net, TensorNames};
use crate::options::Optimizer;
use crate::schedule;

/// It trains as the examples of the others do.
pub(super) static CNN_REFERENCE: Net = Net {
    name: "cnn_reference",
    summary: "the plain net of the comparisons in [performance.md](performance.md)",
    paper: None,
    names: TensorNames::Own,
    defaults: Defaults {
        image_size: 128,
        optimizer: Optimizer::Adam,
        weight_decay: 0.0,
        schedule: schedule::constant::SCHEDULE,
        ..Defaults::COMMON
    },
    layers,
};

const WIDTHS: [i64; 4] = [32, 64, 128, 256];
const HIDDEN: i64 = 128;

fn layers(input: &Input) -> Layers {
    let mut features = Vec::new();
    let mut width = input.channels;
    for (place, outputs) in WIDTHS.into_iter().enumerate() {
        // A convolution, a normalisation, ReLU and the maximum each have a place in the sequence.
        let names = (format!("features.{}", 4 * place), format!("features.{}", 4 * place + 1));
        let layer = ConvBn2d::new(names, (width, outputs), Kernel::THREE);
        features.extend([Layer::ConvBn2d(layer), Layer::MaxPool2d(Pool2d::HALF), Layer::Relu]);
        width = outputs;
    }
    let hidden = Layer::Linear(Linear::new("hidden", width, HIDDEN));
    let classify = vec![Layer::GlobalAvgPool, hidden, Layer::Relu];
    Layers { features, classify, head: Linear::new("fc", HIDDEN, input.outputs) }
}
