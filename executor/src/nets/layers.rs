//! The layers that nets are made of. They hold places of tensors, not tensors.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};
use tusk_core::random::derive;

use super::Pass;
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

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        match params.folded(self.folded) {
            Some((weight, bias)) if !pass.trains() => self.conv.convolve(x, weight, Some(bias)),
            _ => self.bn.forward(params, &self.conv.forward(params, x)?, pass.trains()),
        }
    }
}

/// A square convolution.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: WeightId,
    bias: Option<WeightId>,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// For nets whose normalisation comes before, or right after ([`ConvBn2d`]).
    pub(crate) fn new(layout: &mut Layout, name: &str, (inputs, outputs): (i64, i64), kernel: Kernel) -> Self {
        let shape = [outputs, inputs, kernel.side, kernel.side];
        let weight = layout.weight(format!("{name}.weight"), &shape, Init::kaiming_fan_out(shape));
        Self { weight, bias: None, stride: kernel.stride, padding: kernel.side / 2 }
    }

    /// For nets that do not normalise.
    pub(crate) fn with_bias(layout: &mut Layout, name: &str, widths: (i64, i64), kernel: Kernel) -> Self {
        let conv = Self::new(layout, name, widths, kernel);
        let bias = layout.weight(format!("{name}.bias"), &[widths.1], Init::Constant(0.0));
        Self { bias: Some(bias), ..conv }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let weight = channels_last(&params.weight(self.weight).f_to_kind(params.compute())?)?;
        let bias = self.bias.map(|bias| params.weight(bias).f_to_kind(params.compute())).transpose()?;
        self.convolve(x, &weight, bias.as_ref())
    }

    fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(x.f_conv2d(weight, bias, [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }
}

/// Batch normalisation over N, H and W (Ioffe & Szegedy 2015), as torchvision sets it up.
#[derive(Debug)]
pub(crate) struct BatchNorm2d {
    ids: BatchNormIds,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPSILON: f64 = 1e-5;

    pub(crate) fn new(layout: &mut Layout, name: &str, features: i64, scale: f32) -> Self {
        let ids = BatchNormIds {
            weight: layout.weight(format!("{name}.weight"), &[features], Init::Constant(scale)),
            bias: layout.weight(format!("{name}.bias"), &[features], Init::Constant(0.0)),
            running_mean: layout.buffer(format!("{name}.running_mean"), &[features], 0.0),
            running_var: layout.buffer(format!("{name}.running_var"), &[features], 1.0),
        };
        Self { ids }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        // A single value per channel has no variance: libtorch would divide by zero and spoil the running one for good.
        // One that does not learn keeps to the statistics it came with, as Keras's frozen layers do.
        let train = train && params.weight(self.ids.weight).requires_grad();
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

/// Convolutions and a shortcut around them (He et al. 2015, arXiv 1512.03385).
#[derive(Debug)]
pub(crate) struct ResidualBlock {
    /// ReLU follows each but the last, where it follows the sum.
    branch: Vec<ConvBn2d>,
    downsample: Option<ConvBn2d>,
}

impl ResidualBlock {
    /// Two convolutions of 3 x 3.
    pub(crate) fn basic(layout: &mut Layout, name: &str, (inputs, outputs): (i64, i64), stride: i64) -> Self {
        let kernels = [(Kernel { side: 3, stride }, outputs), (Kernel { side: 3, stride: 1 }, outputs)];
        Self::new(layout, name, (inputs, stride), &kernels)
    }

    /// Convolutions of 1 x 1, 3 x 3 and 1 x 1, the inner ones a quarter as wide. The stride is the 3 x 3 one's, as in
    /// torchvision.
    pub(crate) fn bottleneck(layout: &mut Layout, name: &str, (inputs, outputs): (i64, i64), stride: i64) -> Self {
        let point = Kernel { side: 1, stride: 1 };
        let kernels = [(point, outputs / 4), (Kernel { side: 3, stride }, outputs / 4), (point, outputs)];
        Self::new(layout, name, (inputs, stride), &kernels)
    }

    fn new(layout: &mut Layout, name: &str, (inputs, stride): (i64, i64), kernels: &[(Kernel, i64)]) -> Self {
        let mut layer = |(conv, bn): (&str, &str), widths, kernel, scale| {
            ConvBn2d::new(layout, (&format!("{name}.{conv}"), &format!("{name}.{bn}")), widths, kernel, scale)
        };
        let (mut width, mut branch) = (inputs, Vec::new());
        for (place, (kernel, outputs)) in (1..).zip(kernels) {
            let names = [format!("conv{place}"), format!("bn{place}")];
            let scale = if place == kernels.len() { 0.0 } else { 1.0 };
            branch.push(layer((&names[0], &names[1]), (width, *outputs), *kernel, scale));
            width = *outputs;
        }
        let downsample = (stride != 1 || inputs != width)
            .then(|| layer(("downsample.0", "downsample.1"), (inputs, width), Kernel { side: 1, stride }, 1.0));
        Self { branch, downsample }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(layer) => layer.forward(params, x, pass)?,
            None => x.shallow_clone(),
        };
        let mut y = x.shallow_clone();
        for (place, layer) in self.branch.iter().enumerate() {
            if place > 0 {
                y = y.f_relu_()?;
            }
            y = layer.forward(params, &y, pass)?;
        }
        Ok(y.f_add_(&shortcut)?.f_relu_()?)
    }
}

/// Zeroes half of the values in training and doubles the others (Srivastava et al. 2014). Which ones follows from the
/// pass's seed and not from libtorch's generator, which all workers of a process would share.
#[derive(Debug)]
pub(crate) struct Dropout {
    name: &'static str,
}

impl Dropout {
    /// `name` is the layer before it: each draws from a stream of its own.
    pub(crate) fn half(name: &'static str) -> Self {
        Self { name }
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let Pass::Train { seed } = pass else { return Ok(x.shallow_clone()) };
        let mut rng = Pcg64::seed_from_u64(derive(seed, self.name, &[]));
        let mut mask = Vec::with_capacity(x.numel() + 64);
        while mask.len() < x.numel() {
            let bits = rng.next_u64();
            mask.extend((0..64).map(|bit| if bits >> bit & 1 == 1 { 2.0_f32 } else { 0.0 }));
        }
        mask.truncate(x.numel());
        Ok(x.f_mul(&Tensor::f_from_slice(&mask)?.f_view(x.size().as_slice())?.f_to(x.device())?)?)
    }
}

/// The mean over height and width, in f32: `[n, c, h, w]` to `[n, c]`.
pub(crate) fn global_average_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim(&[2_i64, 3][..], false, Kind::Float)?)
}
