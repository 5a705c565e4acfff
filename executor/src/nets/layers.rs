//! Defines the layers that have tensors or draw random numbers. Layers hold the ids of tensors; [`Params`] holds the
//! tensors.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::Tensor;
use tusk_core::nets;
use tusk_core::random::derive;

use super::Pass;
use super::layout::{BatchNormIds, FoldId, Init, Layout, Params, WeightId, channels_last};
use crate::error::Result;

/// A square convolution without bias, followed by batch normalisation. A net that is loaded for prediction folds the
/// two into one convolution with bias ([`Params::fold`]).
#[derive(Debug)]
pub(crate) struct ConvBn2d {
    conv: Conv2d,
    bn: BatchNorm2d,
    folded: FoldId,
}

impl ConvBn2d {
    pub(crate) fn new(layout: &mut Layout, layer: &nets::ConvBn2d) -> Self {
        let conv = Conv2d::new(layout, &layer.conv);
        let bn = BatchNorm2d::new(layout, &layer.bn);
        let folded = layout.fold(conv.weight, bn.ids, BatchNorm2d::EPSILON);
        Self { conv, bn, folded }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        match params.folded(self.folded) {
            Some((weight, bias)) if pass == Pass::Predict => self.conv.convolve(x, weight, Some(bias)),
            _ => self.bn.forward(params, &self.conv.forward(params, x)?, pass),
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
    groups: i64,
}

impl Conv2d {
    pub(crate) fn new(layout: &mut Layout, conv: &nets::Conv2d) -> Self {
        let (name, shape) = (&conv.name, conv.shape());
        let weight = layout.weight(format!("{name}.weight"), &shape, Init::kaiming_fan_out(shape));
        let bias = conv.bias.then(|| layout.weight(format!("{name}.bias"), &[conv.outputs], Init::Constant(0.0)));
        Self { weight, bias, stride: conv.kernel.stride, padding: conv.kernel.side / 2, groups: conv.groups }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let weight = channels_last(&params.weight(self.weight).f_to_kind(params.compute())?)?;
        let bias = self.bias.map(|bias| params.weight(bias).f_to_kind(params.compute())).transpose()?;
        self.convolve(x, &weight, bias.as_ref())
    }

    fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(x.f_conv2d(weight, bias, [self.stride; 2], [self.padding; 2], [1, 1], self.groups)?)
    }
}

/// Batch normalisation over N, H and W (Ioffe & Szegedy 2015), with the settings of torchvision.
#[derive(Debug)]
pub(crate) struct BatchNorm2d {
    ids: BatchNormIds,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPSILON: f64 = 1e-5;

    pub(crate) fn new(layout: &mut Layout, bn: &nets::BatchNorm2d) -> Self {
        let nets::BatchNorm2d { name, features, scale } = bn;
        let ids = BatchNormIds {
            weight: layout.weight(format!("{name}.weight"), &[*features], Init::Constant(*scale)),
            bias: layout.weight(format!("{name}.bias"), &[*features], Init::Constant(0.0)),
            running_mean: layout.buffer(format!("{name}.running_mean"), &[*features], 0.0),
            running_var: layout.buffer(format!("{name}.running_var"), &[*features], 1.0),
        };
        layout.normalisation(name, ids);
        Self { ids }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let (of_batch, momentum) = match pass {
            Pass::Predict => (false, Self::MOMENTUM),
            // A frozen layer keeps its running statistics, as in Keras.
            Pass::Train { .. } => (params.weight(self.ids.weight).requires_grad(), Self::MOMENTUM),
            Pass::Measure => (true, 1.0),
        };
        let values = x.numel() as f64 / x.size().get(1).map_or(1.0, |channels| *channels as f64);
        // A single value per channel has no variance: libtorch would divide by zero, and the running variance would
        // never be finite again.
        let of_batch = of_batch && values > 1.0;
        let variance = params.buffer(self.ids.running_var);
        let normalised = x.f_batch_norm(
            Some(params.weight(self.ids.weight)),
            Some(params.weight(self.ids.bias)),
            Some(params.buffer(self.ids.running_mean)),
            Some(variance),
            of_batch,
            momentum,
            Self::EPSILON,
            true,
        )?;
        if of_batch && pass == Pass::Measure {
            // libtorch keeps the estimate of the variance of all images. That of the batch itself is smaller.
            drop(variance.shallow_clone().f_mul_scalar_((values - 1.0) / values)?);
        }
        Ok(normalised)
    }
}

/// A fully connected layer, always in f32.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: WeightId,
    bias: WeightId,
}

impl Linear {
    /// The last layer of a net. Its initial weights are small, so that the initial probabilities are nearly equal.
    pub(crate) fn last(layout: &mut Layout, linear: &nets::Linear) -> Self {
        Self::with_init(layout, linear, Init::Normal(0.01))
    }

    /// A layer before a ReLU. Its initial weights have He's variance by inputs (arXiv 1502.01852).
    pub(crate) fn before_relu(layout: &mut Layout, linear: &nets::Linear) -> Self {
        Self::with_init(layout, linear, Init::Normal((2.0 / linear.inputs as f64).sqrt()))
    }

    fn with_init(layout: &mut Layout, nets::Linear { name, inputs, outputs }: &nets::Linear, init: Init) -> Self {
        Self {
            weight: layout.weight(format!("{name}.weight"), &[*outputs, *inputs], init),
            bias: layout.weight(format!("{name}.bias"), &[*outputs], Init::Constant(0.0)),
        }
    }

    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(params.weight(self.weight), Some(params.weight(self.bias)))?)
    }
}

/// Sets a fraction of the values to zero in training and scales the others up (Srivastava et al. 2014). The choice
/// follows from the seed of the pass. It does not use libtorch's generator, which all workers of a process share.
#[derive(Debug)]
pub(crate) struct Dropout {
    name: String,
    fraction: f64,
}

impl Dropout {
    pub(crate) fn new(nets::Dropout { name, fraction }: &nets::Dropout) -> Self {
        Self { name: name.clone(), fraction: *fraction }
    }

    /// Drops single values.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let Pass::Train { seed } = pass else { return Ok(x.shallow_clone()) };
        let mask = Tensor::f_from_slice(&self.mask(seed, x.numel()))?;
        Ok(x.f_mul(&mask.f_view(x.size().as_slice())?.f_to(x.device())?)?)
    }

    /// Drops all values of an image together.
    pub(crate) fn of_images(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let Pass::Train { seed } = pass else { return Ok(x.shallow_clone()) };
        let mut shape = vec![1; x.dim()];
        shape[0] = x.size()[0];
        let mask = Tensor::f_from_slice(&self.mask(seed, usize::try_from(shape[0]).unwrap_or(0)))?;
        Ok(x.f_mul(&mask.f_view(shape.as_slice())?.f_to_kind(x.kind())?.f_to(x.device())?)?)
    }

    /// Returns the factors of `count` values.
    fn mask(&self, seed: u64, count: usize) -> Vec<f32> {
        let mut rng = Pcg64::seed_from_u64(derive(seed, &self.name, &[]));
        let scale = (1.0 / (1.0 - self.fraction)) as f32;
        let mut mask = Vec::with_capacity(count + 64);
        while mask.len() < count {
            let bits = rng.next_u64();
            if self.fraction == 0.5 {
                // One random bit per value.
                mask.extend((0..64).map(|bit| if bits >> bit & 1 == 1 { scale } else { 0.0 }));
            } else {
                let place = (bits >> 11) as f64 / (1_u64 << 53) as f64;
                mask.push(if place >= self.fraction { scale } else { 0.0 });
            }
        }
        mask.truncate(count);
        mask
    }
}
