//! Computes sequences of layers. A new kind of layer is added here.

use tch::{Kind, Tensor};
use tusk_core::nets::{Layer, Pool2d};

use super::Pass;
use super::hog::hog;
use super::layers::{BatchNorm2d, Conv2d, ConvBn2d, Dropout, Linear};
use super::layout::{Layout, Params};
use crate::error::Result;

/// A sequence of layers with the ids of their tensors.
#[derive(Debug)]
pub(crate) struct Sequence {
    steps: Vec<Step>,
}

/// A layer with the ids of its tensors.
#[derive(Debug)]
enum Step {
    Conv2d(Conv2d),
    ConvBn2d(ConvBn2d),
    BatchNorm2d(BatchNorm2d),
    Relu { in_place: bool },
    Silu,
    Sigmoid,
    MaxPool2d(Pool2d),
    AvgPool2d(Pool2d),
    AdaptiveAvgPool2d(i64),
    GlobalAvgPool,
    Flatten,
    PixelUnshuffle(i64),
    Hog,
    Linear(Linear),
    Dropout(Dropout),
    StochasticDepth(Dropout),
    Scale(Sequence),
    Residual { branch: Sequence, shortcut: Sequence, in_place: bool },
    DenseConcat(Sequence),
}

/// Whether the next layer may change a layer's output in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// New values that no gradient needs. They may be changed in place.
    Fresh,
    /// The values of the input, or values that a gradient needs. They must not be changed.
    Kept,
}

impl Sequence {
    pub(crate) fn new(layout: &mut Layout, layers: &[Layer]) -> Self {
        // The input of the first layer belongs to the caller.
        let mut before = Output::Kept;
        let mut steps = Vec::with_capacity(layers.len());
        for layer in layers {
            steps.push(Step::new(layout, layer, before));
            before = output(layer, before);
        }
        Self { steps }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let x = x.shallow_clone();
        self.steps.iter().try_fold(x, |x, step| step.forward(params, x, pass))
    }
}

/// The kind of a layer's output. `before` is the kind of its input.
fn output(layer: &Layer, before: Output) -> Output {
    match layer {
        Layer::Conv2d(_)
        | Layer::ConvBn2d(_)
        | Layer::BatchNorm2d(_)
        | Layer::MaxPool2d(_)
        | Layer::AvgPool2d(_)
        | Layer::AdaptiveAvgPool2d { .. }
        | Layer::GlobalAvgPool
        | Layer::Hog
        | Layer::Linear(_)
        | Layer::Silu
        | Layer::Residual { .. }
        | Layer::Scale { .. }
        | Layer::DenseConcat { .. } => Output::Fresh,
        // Their gradients are computed from their outputs.
        Layer::Relu | Layer::Sigmoid => Output::Kept,
        // Their outputs are views of the input, or the input itself.
        Layer::Flatten | Layer::PixelUnshuffle { .. } | Layer::Dropout(_) | Layer::StochasticDepth(_) => before,
    }
}

/// The kind of the output of a sequence.
fn last_output(layers: &[Layer]) -> Output {
    layers.iter().fold(Output::Kept, |before, layer| output(layer, before))
}

impl Step {
    fn new(layout: &mut Layout, layer: &Layer, before: Output) -> Self {
        match layer {
            Layer::Conv2d(conv) => Self::Conv2d(Conv2d::new(layout, conv)),
            Layer::ConvBn2d(layer) => Self::ConvBn2d(ConvBn2d::new(layout, layer)),
            Layer::BatchNorm2d(bn) => Self::BatchNorm2d(BatchNorm2d::new(layout, bn)),
            Layer::Relu => Self::Relu { in_place: before == Output::Fresh },
            Layer::Silu => Self::Silu,
            Layer::Sigmoid => Self::Sigmoid,
            Layer::MaxPool2d(pool) => Self::MaxPool2d(*pool),
            Layer::AvgPool2d(pool) => Self::AvgPool2d(*pool),
            Layer::AdaptiveAvgPool2d { side } => Self::AdaptiveAvgPool2d(*side),
            Layer::GlobalAvgPool => Self::GlobalAvgPool,
            Layer::Flatten => Self::Flatten,
            Layer::PixelUnshuffle { factor } => Self::PixelUnshuffle(*factor),
            Layer::Hog => Self::Hog,
            Layer::Linear(linear) => Self::Linear(Linear::before_relu(layout, linear)),
            Layer::Dropout(dropout) => Self::Dropout(Dropout::new(dropout)),
            Layer::StochasticDepth(dropout) => Self::StochasticDepth(Dropout::new(dropout)),
            Layer::Scale { branch } => Self::Scale(Sequence::new(layout, branch)),
            Layer::Residual { branch, shortcut } => Self::Residual {
                in_place: last_output(branch) == Output::Fresh,
                branch: Sequence::new(layout, branch),
                shortcut: Sequence::new(layout, shortcut),
            },
            Layer::DenseConcat { branch } => Self::DenseConcat(Sequence::new(layout, branch)),
        }
    }

    fn forward(&self, params: &Params, mut x: Tensor, pass: Pass) -> Result<Tensor> {
        Ok(match self {
            Self::Conv2d(conv) => conv.forward(params, &x)?,
            Self::ConvBn2d(layer) => layer.forward(params, &x, pass)?,
            Self::BatchNorm2d(bn) => bn.forward(params, &x, pass)?,
            Self::Relu { in_place: true } => x.f_relu_()?,
            Self::Relu { in_place: false } => x.f_relu()?,
            Self::Silu => x.f_silu()?,
            Self::Sigmoid => x.f_sigmoid()?,
            Self::MaxPool2d(Pool2d { side, stride, padding }) => {
                x.f_max_pool2d([*side; 2], [*stride; 2], [*padding; 2], [1, 1], false)?
            }
            Self::AvgPool2d(Pool2d { side, stride, padding }) => {
                x.f_avg_pool2d([*side; 2], [*stride; 2], [*padding; 2], false, true, None::<i64>)?
            }
            Self::AdaptiveAvgPool2d(side) => x.f_adaptive_avg_pool2d([*side; 2])?,
            Self::GlobalAvgPool => x.f_mean_dim(&[2_i64, 3][..], false, Kind::Float)?,
            Self::Flatten => x.f_flatten(1, -1)?.f_to_kind(Kind::Float)?,
            Self::PixelUnshuffle(factor) => x.f_pixel_unshuffle(*factor)?,
            Self::Hog => hog(&x.f_to_kind(Kind::Float)?)?,
            Self::Linear(linear) => linear.forward(params, &x)?,
            Self::Dropout(dropout) => dropout.forward(&x, pass)?,
            Self::StochasticDepth(dropout) => dropout.of_images(&x, pass)?,
            Self::Scale(branch) => x.f_mul(&branch.forward(params, &x, pass)?)?,
            Self::Residual { branch, shortcut, in_place } => {
                let shortcut = shortcut.forward(params, &x, pass)?;
                let mut y = branch.forward(params, &x, pass)?;
                if *in_place { y.f_add_(&shortcut)? } else { y.f_add(&shortcut)? }
            }
            Self::DenseConcat(branch) => {
                let found = branch.forward(params, &x, pass)?;
                Tensor::f_cat(&[x, found], 1)?
            }
        })
    }
}
