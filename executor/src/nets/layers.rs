//! The layers that nets are made of. They hold places of tensors, not tensors.

use tch::{Kind, Tensor};

use super::layout::{BatchNormIds, FoldId, Init, Layout, Params, WeightId, channels_last};
use crate::error::Result;

/// A square convolution without bias and the normalisation after it. A session that only predicts has folded the two
/// into one convolution with bias ([`Params::fold`]).
#[derive(Debug)]
pub(crate) struct ConvBn2d {
    conv: Conv2d,
    bn: BatchNorm2d,
    folded: FoldId,
}

/// How a [`ConvBn2d`] looks at its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// Odd; the padding keeps the size at stride 1.
    pub(crate) side: i64,
    pub(crate) stride: i64,
}

impl ConvBn2d {
    /// `conv` and `bn` are the layers' names in torchvision; `widths` the channels of input and output. `scale` is
    /// where the learned scale starts: 1, or 0 for the last one of a residual branch, which then starts as the identity
    /// (Goyal et al. 2017, arXiv 1706.02677).
    pub(crate) fn new(
        layout: &mut Layout,
        (conv, bn): (&str, &str),
        (inputs, outputs): (i64, i64),
        kernel: Kernel,
        scale: f32,
    ) -> Self {
        let conv = Conv2d::new(layout, conv, (inputs, outputs), kernel);
        let bn = BatchNorm2d::new(layout, bn, outputs, scale);
        let folded = layout.fold(conv.weight, bn.ids, BatchNorm2d::EPSILON);
        Self { conv, bn, folded }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        match params.folded(self.folded) {
            Some((weight, bias)) if !train => self.conv.convolve(x, weight, Some(bias)),
            _ => self.bn.forward(params, &self.conv.forward(params, x)?, train),
        }
    }
}

#[derive(Debug)]
struct Conv2d {
    weight: WeightId,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    fn new(layout: &mut Layout, name: &str, (inputs, outputs): (i64, i64), kernel: Kernel) -> Self {
        let shape = [outputs, inputs, kernel.side, kernel.side];
        let weight = layout.weight(format!("{name}.weight"), &shape, Init::kaiming_fan_out(shape));
        Self { weight, stride: kernel.stride, padding: kernel.side / 2 }
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let weight = channels_last(&params.weight(self.weight).f_to_kind(params.compute())?)?;
        self.convolve(x, &weight, None)
    }

    fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(x.f_conv2d(weight, bias, [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }
}

/// Batch normalisation over N, H and W (Ioffe & Szegedy 2015), as torchvision sets it up.
#[derive(Debug)]
struct BatchNorm2d {
    ids: BatchNormIds,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPSILON: f64 = 1e-5;

    fn new(layout: &mut Layout, name: &str, features: i64, scale: f32) -> Self {
        let ids = BatchNormIds {
            weight: layout.weight(format!("{name}.weight"), &[features], Init::Constant(scale)),
            bias: layout.weight(format!("{name}.bias"), &[features], Init::Constant(0.0)),
            running_mean: layout.buffer(format!("{name}.running_mean"), &[features], 0.0),
            running_var: layout.buffer(format!("{name}.running_var"), &[features], 1.0),
        };
        Self { ids }
    }

    fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        // A single value per channel has no variance: libtorch would divide by zero and spoil the running one for good.
        let train = train && x.size().get(1).is_some_and(|channels| x.numel() as i64 > *channels);
        Ok(x.f_batch_norm(
            Some(params.weight(self.ids.weight)),
            Some(params.weight(self.ids.bias)),
            Some(params.buffer(self.ids.running_mean)),
            Some(params.buffer(self.ids.running_var)),
            train,
            Self::MOMENTUM,
            Self::EPSILON,
            true,
        )?)
    }
}

/// A fully connected layer, always in f32.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: WeightId,
    bias: WeightId,
}

impl Linear {
    /// The last layer of a net: small weights, so that training starts undecided.
    pub(crate) fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64) -> Self {
        Self::with_init(layout, name, inputs, outputs, Init::Normal(0.01))
    }

    /// A layer that ReLU follows, with He's variance by inputs (arXiv 1502.01852).
    pub(crate) fn before_relu(layout: &mut Layout, name: &str, inputs: i64, outputs: i64) -> Self {
        Self::with_init(layout, name, inputs, outputs, Init::Normal((2.0 / inputs as f64).sqrt()))
    }

    fn with_init(layout: &mut Layout, name: &str, inputs: i64, outputs: i64, init: Init) -> Self {
        Self {
            weight: layout.weight(format!("{name}.weight"), &[outputs, inputs], init),
            bias: layout.weight(format!("{name}.bias"), &[outputs], Init::Constant(0.0)),
        }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(params.weight(self.weight), Some(params.weight(self.bias)))?)
    }
}

/// Two 3x3 convolutions and a shortcut (He et al. 2015, arXiv 1512.03385): ResNet's basic block.
#[derive(Debug)]
pub(crate) struct BasicBlock {
    first: ConvBn2d,
    second: ConvBn2d,
    downsample: Option<ConvBn2d>,
}

impl BasicBlock {
    pub(crate) fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64, stride: i64) -> Self {
        let mut layer = |(conv, bn): (&str, &str), widths, kernel, scale| {
            ConvBn2d::new(layout, (&format!("{name}.{conv}"), &format!("{name}.{bn}")), widths, kernel, scale)
        };
        let first = layer(("conv1", "bn1"), (inputs, outputs), Kernel { side: 3, stride }, 1.0);
        let second = layer(("conv2", "bn2"), (outputs, outputs), Kernel { side: 3, stride: 1 }, 0.0);
        let downsample = (stride != 1 || inputs != outputs)
            .then(|| layer(("downsample.0", "downsample.1"), (inputs, outputs), Kernel { side: 1, stride }, 1.0));
        Self { first, second, downsample }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(layer) => layer.forward(params, x, train)?,
            None => x.shallow_clone(),
        };
        let y = self.first.forward(params, x, train)?.f_relu_()?;
        let mut y = self.second.forward(params, &y, train)?;
        Ok(y.f_add_(&shortcut)?.f_relu_()?)
    }
}

/// The mean over height and width, in f32: `[n, c, h, w]` to `[n, c]`.
pub(crate) fn global_average_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim(&[2_i64, 3][..], false, Kind::Float)?)
}
