//! `cnn`: a residual net of 0.9 million parameters for grey images of 128 pixels.
//!
//! ResNet's basic blocks (He et al. 2015, arXiv 1512.03385) behind a stem that folds each square of 4 x 4 pixels into
//! 16 channels (pixel unshuffle: Shi et al. 2016, arXiv 1609.05158) before a 3 x 3 convolution: one layer sees 12 x 12
//! pixels, at a sixteenth of the positions and with as many input channels as the processor's vectors are wide. Widths
//! are multiples of 32, which bf16 convolutions on a CPU want, and most of them stand where the maps are small: against
//! three stages of 48, 96 and 128 channels these four train 1.36 times as fast, and are better at it.

use super::layers::{ConvBn2d, Kernel, Layer, Layers, Linear};
use super::resnet::basic;
use super::{Defaults, Input, Net, TensorNames};

/// The net.
pub(super) static CNN: Net = Net {
    name: "cnn",
    summary: "the default: ResNet's basic blocks behind a stem that folds 4 x 4 pixels into channels",
    paper: None,
    names: TensorNames::Own,
    defaults: Defaults { image_size: 128, epochs: 24, learning_rate: 3e-3, ..Defaults::COMMON },
    layers,
};

/// Side of the squares that the stem folds into channels.
const FOLD: i64 = 4;
const STEM: i64 = 32;
/// Width and stride of the blocks.
const BLOCKS: [(i64, i64); 4] = [(32, 1), (64, 2), (128, 2), (192, 2)];

fn layers(input: &Input) -> Layers {
    let stem = ConvBn2d::new(("conv1", "bn1"), (input.channels * FOLD * FOLD, STEM), Kernel::THREE);
    let mut features = vec![Layer::PixelUnshuffle { factor: FOLD }, Layer::ConvBn2d(stem), Layer::Relu];
    let mut classify = Vec::new();
    let mut width = STEM;
    for (place, (outputs, stride)) in (1..).zip(BLOCKS) {
        // Maps are those before the last stage, which are twice as fine.
        let part = if place == BLOCKS.len() { &mut classify } else { &mut features };
        part.extend([basic(&format!("layer{place}.0"), (width, outputs), stride), Layer::Relu]);
        width = outputs;
    }
    classify.push(Layer::GlobalAvgPool);
    Layers { features, classify, head: Linear::new("fc", width, input.outputs) }
}
