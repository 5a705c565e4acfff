//! `efficientnet_b0`: M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019
//! (arXiv 1905.11946), the smallest of the family. Tensors are named as torchvision names them.

use super::layers::{Conv2d, ConvBn2d, Dropout, Kernel, Layer, Layers, Linear};
use super::{Defaults, Input, Net, TensorNames};

/// Inverted residual blocks with squeeze and excitation.
pub(super) static EFFICIENTNET_B0: Net = Net {
    name: "efficientnet_b0",
    summary: "inverted residual blocks: wide depthwise convolutions whose channels are weighed by what the whole image shows",
    paper: Some("Tan & Le 2019 (1905.11946)"),
    names: TensorNames::Torchvision,
    defaults: Defaults::COMMON,
    layers,
};

/// Blocks that widen alike.
struct Stage {
    /// How much wider the inside of a block is than its input.
    expansion: i64,
    /// The depthwise convolution of the first block; the others have stride 1.
    kernel: Kernel,
    outputs: i64,
    blocks: usize,
}

const fn stage(expansion: i64, side: i64, stride: i64, outputs: i64, blocks: usize) -> Stage {
    Stage { expansion, kernel: Kernel { side, stride }, outputs, blocks }
}

/// Table 1 of the paper.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 16, 1),
    stage(6, 3, 2, 24, 2),
    stage(6, 5, 2, 40, 2),
    stage(6, 3, 2, 80, 3),
    stage(6, 5, 1, 112, 3),
    stage(6, 5, 2, 192, 4),
    stage(6, 3, 1, 320, 1),
];
const STEM: i64 = 32;
const LAST: i64 = 1280;
/// The fraction of the head's inputs that training zeroes, and of the images that the last block leaves as they are;
/// the blocks before it leave fewer, in proportion to their place.
const DROPPED: f64 = 0.2;

fn layers(input: &Input) -> Layers {
    let mut features = conv("features.0", (input.channels, STEM), Kernel { side: 3, stride: 2 });
    let total: usize = STAGES.iter().map(|stage| stage.blocks).sum();
    let (mut width, mut place) = (STEM, 0);
    for (number, Stage { expansion, kernel, outputs, blocks }) in (1..).zip(STAGES) {
        for block in 0..blocks {
            let name = format!("features.{number}.{block}.block");
            let kernel = if block == 0 { kernel } else { Kernel { stride: 1, ..kernel } };
            let mut branch = inverted(&name, (width, outputs), expansion, kernel);
            if kernel.stride == 1 && width == outputs {
                let fraction = DROPPED * place as f64 / total as f64;
                branch.push(Layer::StochasticDepth(Dropout { name, fraction }));
                features.push(Layer::Residual { branch, shortcut: Vec::new() });
            } else {
                features.extend(branch);
            }
            (width, place) = (outputs, place + 1);
        }
    }
    features.extend(conv("features.8", (width, LAST), Kernel::POINT));
    let dropout = Dropout { name: "classifier.0".to_owned(), fraction: DROPPED };
    Layers {
        features,
        classify: vec![Layer::GlobalAvgPool, Layer::Dropout(dropout)],
        head: Linear::new("classifier.1", LAST, input.outputs),
    }
}

/// A convolution, its normalisation, and SiLU.
fn conv(name: &str, widths: (i64, i64), kernel: Kernel) -> Vec<Layer> {
    vec![Layer::ConvBn2d(named(name, widths, kernel)), Layer::Silu]
}

fn named(name: &str, widths: (i64, i64), kernel: Kernel) -> ConvBn2d {
    ConvBn2d::new((format!("{name}.0"), format!("{name}.1")), widths, kernel)
}

/// Widens, looks at each channel for itself, weighs the channels, and narrows again.
fn inverted(name: &str, (inputs, outputs): (i64, i64), expansion: i64, kernel: Kernel) -> Vec<Layer> {
    let wide = inputs * expansion;
    let mut place = 0;
    let mut next = || {
        place += 1;
        format!("{name}.{}", place - 1)
    };
    let mut layers = Vec::new();
    if expansion != 1 {
        layers.extend(conv(&next(), (inputs, wide), Kernel::POINT));
    }
    layers.extend([Layer::ConvBn2d(named(&next(), (wide, wide), kernel).depthwise()), Layer::Silu]);
    layers.push(squeeze_excite(&next(), wide, (inputs / 4).max(1)));
    layers.push(Layer::ConvBn2d(named(&next(), (wide, outputs), Kernel::POINT)));
    layers
}

/// A number for each channel, from the means of all of them (Hu et al. 2017, arXiv 1709.01507).
fn squeeze_excite(name: &str, width: i64, squeezed: i64) -> Layer {
    let conv =
        |layer: &str, widths| Layer::Conv2d(Conv2d::new(format!("{name}.{layer}"), widths, Kernel::POINT).with_bias());
    Layer::Scale {
        branch: vec![
            Layer::AdaptiveAvgPool2d { side: 1 },
            conv("fc1", (width, squeezed)),
            Layer::Silu,
            conv("fc2", (squeezed, width)),
            Layer::Sigmoid,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_parameters_equals_that_of_torchvision() {
        // torchvision's number for three channels and a thousand classes, without the channels and classes that are
        // less.
        assert_eq!(EFFICIENTNET_B0.parameters(), 5_288_548 - 2 * 32 * 9 - 999 * 1281);
    }

    #[test]
    fn the_tensors_have_the_names_of_torchvision() {
        let net = layers(&Input { channels: 3, side: 224, outputs: 1000, features: crate::options::Features::Hog });
        let first = |layer: &Layer| match layer {
            Layer::ConvBn2d(layer) => Some((layer.conv.name.clone(), layer.bn.name.clone())),
            _ => None,
        };
        let pair = |conv: &str, bn: &str| Some((conv.to_owned(), bn.to_owned()));
        assert_eq!(first(&net.features[0]), pair("features.0.0", "features.0.1"));
        // The first block does not widen.
        assert_eq!(first(&net.features[2]), pair("features.1.0.block.0.0", "features.1.0.block.0.1"));
        let Layer::Scale { branch } = &net.features[4] else { panic!("{:?}", net.features[4]) };
        let Layer::Conv2d(squeeze) = &branch[1] else { panic!("{branch:?}") };
        assert_eq!((squeeze.name.as_str(), squeeze.shape()), ("features.1.0.block.1.fc1", [8, 32, 1, 1]));
        assert_eq!(net.head, Linear::new("classifier.1", 1280, 1000));
    }
}
