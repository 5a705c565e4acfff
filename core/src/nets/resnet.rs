//! `resnet18` and `resnet50`: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015
//! (arXiv 1512.03385). Tensors are named as torchvision names them.

use super::layers::{ConvBn2d, Kernel, Layer, Layers, Linear, Pool2d};
use super::{Defaults, Input, Net, TensorNames};

/// Two basic blocks in each stage.
pub(super) static RESNET18: Net = Net {
    name: "resnet18",
    summary: "a residual net of basic blocks",
    paper: Some("He et al. 2015 (1512.03385)"),
    names: TensorNames::Torchvision,
    defaults: Defaults::COMMON,
    layers: |input| layers(input, ([2, 2, 2, 2], [64, 128, 256, 512]), basic),
};

/// Bottleneck blocks, four times as wide at their ends.
pub(super) static RESNET50: Net = Net {
    name: "resnet50",
    summary: "a residual net of bottleneck blocks",
    paper: Some("He et al. 2015 (1512.03385)"),
    names: TensorNames::Torchvision,
    defaults: Defaults::COMMON,
    layers: |input| layers(input, ([3, 4, 6, 3], [256, 512, 1024, 2048]), bottleneck),
};

/// Makes a block of this name, these widths of input and output, and this stride.
type MakeBlock = fn(&str, (i64, i64), i64) -> Layer;

fn layers(input: &Input, (depths, widths): ([usize; 4], [i64; 4]), make_block: MakeBlock) -> Layers {
    let stem = ConvBn2d::new(("conv1", "bn1"), (input.channels, 64), Kernel { side: 7, stride: 2 });
    let mut features = vec![Layer::ConvBn2d(stem), Layer::MaxPool2d(Pool2d::OVERLAPPING), Layer::Relu];
    let mut width = 64;
    for (stage, (depth, outputs)) in depths.into_iter().zip(widths).enumerate() {
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            features.push(make_block(&format!("layer{}.{block}", stage + 1), (width, outputs), stride));
            features.push(Layer::Relu);
            width = outputs;
        }
    }
    Layers { features, classify: vec![Layer::GlobalAvgPool], head: Linear::new("fc", width, input.outputs) }
}

/// Two convolutions of 3 x 3 and a shortcut around them. ReLU is to follow.
pub(super) fn basic(name: &str, (inputs, outputs): (i64, i64), stride: i64) -> Layer {
    block(name, (inputs, stride), &[(Kernel { side: 3, stride }, outputs), (Kernel::THREE, outputs)])
}

/// Convolutions of 1 x 1, 3 x 3 and 1 x 1, the inner ones a quarter as wide. The stride is the 3 x 3 one's, as in
/// torchvision.
fn bottleneck(name: &str, (inputs, outputs): (i64, i64), stride: i64) -> Layer {
    let inner = outputs / 4;
    let kernels = [(Kernel::POINT, inner), (Kernel { side: 3, stride }, inner), (Kernel::POINT, outputs)];
    block(name, (inputs, stride), &kernels)
}

fn block(name: &str, (inputs, stride): (i64, i64), kernels: &[(Kernel, i64)]) -> Layer {
    let (mut width, mut branch) = (inputs, Vec::new());
    for (place, (kernel, outputs)) in (1..).zip(kernels) {
        let names = (format!("{name}.conv{place}"), format!("{name}.bn{place}"));
        let layer = ConvBn2d::new(names, (width, *outputs), *kernel);
        if place == kernels.len() {
            branch.push(Layer::ConvBn2d(layer.starting_at_zero()));
        } else {
            branch.extend([Layer::ConvBn2d(layer), Layer::Relu]);
        }
        width = *outputs;
    }
    let mut shortcut = Vec::new();
    if stride != 1 || inputs != width {
        let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
        shortcut.push(Layer::ConvBn2d(ConvBn2d::new(names, (inputs, width), Kernel { side: 1, stride })));
    }
    Layer::Residual { branch, shortcut }
}
