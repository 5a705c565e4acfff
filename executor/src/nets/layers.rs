//! The layers that nets are made of. They hold places of tensors, not tensors.

use tch::{Kind, Tensor};

use super::layout::{BufferId, Init, Layout, Params, WeightId};
use crate::error::Result;

/// A square convolution without bias (a normalisation follows).
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: WeightId,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// `name` as in torchvision, without `.weight`. Kernels are odd; the padding keeps the size at stride 1.
    pub(crate) fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        let shape = [outputs, inputs, kernel, kernel];
        let weight = layout.weight(format!("{name}.weight"), &shape, Init::kaiming_fan_out(shape));
        Self { weight, stride, padding: kernel / 2 }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        // Channels-last: the layout in which oneDNN's and cuDNN's kernels are fastest.
        let weight = params.weight(self.weight).f_to_kind(params.compute())?;
        let weight = weight.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?;
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&weight, None::<&Tensor>, stride, padding, [1, 1], 1)?)
    }
}

/// Batch normalisation over N, H and W (Ioffe & Szegedy 2015), as torchvision sets it up.
#[derive(Debug)]
pub(crate) struct BatchNorm2d {
    weight: WeightId,
    bias: WeightId,
    running_mean: BufferId,
    running_var: BufferId,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPSILON: f64 = 1e-5;

    /// `scale` is where the learned scale starts: 1, or 0 for the last one of a residual branch, which then starts as
    /// the identity (Goyal et al. 2017, arXiv 1706.02677).
    pub(crate) fn new(layout: &mut Layout, name: &str, features: i64, scale: f32) -> Self {
        Self {
            weight: layout.weight(format!("{name}.weight"), &[features], Init::Constant(scale)),
            bias: layout.weight(format!("{name}.bias"), &[features], Init::Constant(0.0)),
            running_mean: layout.buffer(format!("{name}.running_mean"), &[features], 0.0),
            running_var: layout.buffer(format!("{name}.running_var"), &[features], 1.0),
        }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        // A single value per channel has no variance: libtorch would divide by zero and spoil the running one for good.
        let train = train && x.size().get(1).is_some_and(|channels| x.numel() as i64 > *channels);
        Ok(x.f_batch_norm(
            Some(params.weight(self.weight)),
            Some(params.weight(self.bias)),
            Some(params.buffer(self.running_mean)),
            Some(params.buffer(self.running_var)),
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
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    pub(crate) fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64, stride: i64) -> Self {
        let conv1 = Conv2d::new(layout, &format!("{name}.conv1"), inputs, outputs, 3, stride);
        let bn1 = BatchNorm2d::new(layout, &format!("{name}.bn1"), outputs, 1.0);
        let conv2 = Conv2d::new(layout, &format!("{name}.conv2"), outputs, outputs, 3, 1);
        let bn2 = BatchNorm2d::new(layout, &format!("{name}.bn2"), outputs, 0.0);
        let downsample = (stride != 1 || inputs != outputs).then(|| {
            let conv = Conv2d::new(layout, &format!("{name}.downsample.0"), inputs, outputs, 1, stride);
            (conv, BatchNorm2d::new(layout, &format!("{name}.downsample.1"), outputs, 1.0))
        });
        Self { conv1, bn1, conv2, bn2, downsample }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(params, &conv.forward(params, x)?, train)?,
            None => x.shallow_clone(),
        };
        let y = self.bn1.forward(params, &self.conv1.forward(params, x)?, train)?.f_relu_()?;
        let mut y = self.bn2.forward(params, &self.conv2.forward(params, &y)?, train)?;
        Ok(y.f_add_(&shortcut)?.f_relu_()?)
    }
}

/// The mean over height and width, in f32: `[n, c, h, w]` to `[n, c]`.
pub(crate) fn global_average_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim(&[2_i64, 3][..], false, Kind::Float)?)
}
