//! The parameters of a net: [`Layout`] has their names, shapes and initial values, [`Params`] has their tensors.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor, no_grad};
use tusk_core::random::derive;
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::{Error, Result};

/// The initial values of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Normally distributed with mean 0 and this standard deviation.
    Normal(f64),
}

impl Init {
    /// The initialisation of He et al. 2015 (arXiv 1502.01852) by outputs, which preserves the variance of gradients
    /// through ReLU layers.
    pub(crate) fn kaiming_fan_out(shape: [i64; 4]) -> Self {
        Self::Normal((2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt())
    }
}

#[derive(Debug)]
struct Slot {
    name: String,
    shape: Vec<i64>,
    init: Init,
    decays: bool,
}

impl Slot {
    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// The id of a learned tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightId(usize);

/// The id of a running statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(usize);

/// The tensors of a batch normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchNormIds {
    pub(crate) weight: WeightId,
    pub(crate) bias: WeightId,
    pub(crate) running_mean: BufferId,
    pub(crate) running_var: BufferId,
}

/// A convolution that is directly followed by batch normalisation.
#[derive(Debug)]
struct Fold {
    conv: WeightId,
    bn: BatchNormIds,
    epsilon: f64,
}

/// The id of a [`Fold`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldId(usize);

/// The names, shapes and initial values of a net's tensors.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    weights: Vec<Slot>,
    buffers: Vec<Slot>,
    folds: Vec<Fold>,
    /// The name and the tensors of each batch normalisation.
    normalisations: Vec<(String, BatchNormIds)>,
}

impl Layout {
    /// Adds a learned tensor. Tensors of more than one dimension take part in weight decay.
    pub(crate) fn weight(&mut self, name: String, shape: &[i64], init: Init) -> WeightId {
        self.weights.push(Slot { name, shape: shape.to_vec(), init, decays: shape.len() > 1 });
        WeightId(self.weights.len() - 1)
    }

    /// Adds a running statistic.
    pub(crate) fn buffer(&mut self, name: String, shape: &[i64], value: f32) -> BufferId {
        self.buffers.push(Slot { name, shape: shape.to_vec(), init: Init::Constant(value), decays: false });
        BufferId(self.buffers.len() - 1)
    }

    /// Records the tensors of a batch normalisation with this name.
    pub(crate) fn normalisation(&mut self, name: &str, ids: BatchNormIds) {
        self.normalisations.push((name.to_owned(), ids));
    }

    /// Records that batch normalisation directly follows a convolution, so that prediction may fold the two into one.
    pub(crate) fn fold(&mut self, conv: WeightId, bn: BatchNormIds, epsilon: f64) -> FoldId {
        self.folds.push(Fold { conv, bn, epsilon });
        FoldId(self.folds.len() - 1)
    }

    /// The number of learned values.
    pub(crate) fn numel(&self) -> i64 {
        self.weights.iter().map(Slot::numel).sum()
    }

    /// Returns the initial state that follows from a seed. Each tensor has its own random stream, so that tensors of
    /// the same name and shape have the same initial values in all nets.
    pub(crate) fn initial_state(&self, seed: u64) -> ModelState {
        ModelState::new(self.weights.iter().chain(&self.buffers).map(|slot| {
            let numel = usize::try_from(slot.numel()).unwrap_or(0);
            let data = match slot.init {
                Init::Constant(value) => vec![value; numel],
                Init::Normal(std) => normal(derive(seed, &slot.name, &[]), numel, std),
            };
            let shape = slot.shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
            NamedTensor { name: slot.name.clone(), shape, data }
        }))
    }
}

/// Returns normally distributed numbers with mean 0 and standard deviation `std`. They are computed with the Box-Muller
/// transform, so that they do not depend on the version of libtorch.
pub(crate) fn normal(seed: u64, count: usize, std: f64) -> Vec<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
        let angle = TAU * rng.random::<f64>();
        numbers.push((radius * angle.cos()) as f32);
        numbers.push((radius * angle.sin()) as f32);
    }
    numbers.truncate(count);
    numbers
}

/// The tensors of a net. All learned tensors are views of one flat tensor, so that the optimizer needs a few operations
/// on long vectors and not hundreds of operations on short ones.
#[derive(Debug)]
pub(crate) struct Params {
    layout: Layout,
    flat: Tensor,
    weights: Vec<Tensor>,
    buffers: Vec<Tensor>,
    /// The weight and bias of each folded convolution. Empty until [`Self::fold`] is called.
    folded: Vec<(Tensor, Tensor)>,
    compute: Kind,
}

/// The running statistics of a batch normalisation, per channel.
pub(crate) struct RunningStatistics<'a> {
    /// The name of the layer.
    pub(crate) layer: &'a str,
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl Params {
    /// Loads the tensors of a state.
    ///
    /// `what` names the state in errors. Convolutions compute in `compute`; weights are stored in f32. Tensors whose
    /// names do not begin with `learns` are frozen.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when a tensor is missing or has another shape.
    pub(crate) fn load(
        layout: Layout,
        state: &ModelState,
        what: &str,
        (device, compute): (Device, Kind),
        learns: &str,
    ) -> Result<Self> {
        let numel = layout.numel();
        let flat = Tensor::f_zeros([numel], (Kind::Float, device))?;
        let mut weights = Vec::with_capacity(layout.weights.len());
        let mut start = 0;
        for slot in &layout.weights {
            let mut place = flat.f_narrow(0, start, slot.numel())?;
            place.f_copy_(&Tensor::f_from_slice(tensor_of(state, slot, what)?)?)?;
            let learns = slot.name.starts_with(learns);
            weights.push(place.f_view(slot.shape.as_slice())?.f_set_requires_grad(learns)?);
            start += slot.numel();
        }
        let buffers = layout
            .buffers
            .iter()
            .map(|slot| {
                let values = Tensor::f_from_slice(tensor_of(state, slot, what)?)?;
                Ok(values.f_view(slot.shape.as_slice())?.f_to(device)?)
            })
            .collect::<Result<_>>()?;
        Ok(Self { layout, flat, weights, buffers, folded: Vec::new(), compute })
    }

    /// Folds each convolution and its batch normalisation by running statistics into one convolution with bias, for
    /// prediction (Jacob et al. 2018, arXiv 1712.05877, section 3.2).
    pub(crate) fn fold(&mut self) -> Result<()> {
        let fold = |fold: &Fold| -> Result<(Tensor, Tensor)> {
            let deviation = self.buffer(fold.bn.running_var).f_add_scalar(fold.epsilon)?.f_sqrt()?;
            let scale = self.weight(fold.bn.weight).f_div(&deviation)?;
            let weight = self.weight(fold.conv).f_mul(&scale.f_view([-1, 1, 1, 1])?)?.f_to_kind(self.compute)?;
            let bias = self.weight(fold.bn.bias).f_sub(&self.buffer(fold.bn.running_mean).f_mul(&scale)?)?;
            Ok((channels_last(&weight)?, bias.f_to_kind(self.compute)?))
        };
        self.folded = no_grad(|| self.layout.folds.iter().map(fold).collect::<Result<_>>())?;
        Ok(())
    }

    /// Returns the weight and the bias of a folded convolution, or `None` if [`Self::fold`] was not called.
    pub(crate) fn folded(&self, id: FoldId) -> Option<(&Tensor, &Tensor)> {
        self.folded.get(id.0).map(|(weight, bias)| (weight, bias))
    }

    /// Returns the current state.
    pub(crate) fn state(&self) -> Result<Vec<NamedTensor>> {
        let weights = self.layout.weights.iter().zip(&self.weights);
        let buffers = self.layout.buffers.iter().zip(&self.buffers);
        weights.chain(buffers).map(|(slot, tensor)| named(&slot.name, tensor)).collect()
    }

    /// Returns the running statistics of each batch normalisation.
    pub(crate) fn running_statistics(&self) -> Result<Vec<RunningStatistics<'_>>> {
        let mut statistics = Vec::with_capacity(self.layout.normalisations.len());
        for (name, ids) in &self.layout.normalisations {
            let (mean, variance) = (to_vec(self.buffer(ids.running_mean))?, to_vec(self.buffer(ids.running_var))?);
            statistics.push(RunningStatistics { layer: name, mean, variance });
        }
        Ok(statistics)
    }

    /// Replaces the values by those of a state, in place.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when a tensor is missing or has another shape.
    pub(crate) fn set(&mut self, state: &ModelState, what: &str) -> Result<()> {
        self.folded.clear();
        let weights = self.layout.weights.iter().zip(&self.weights);
        let buffers = self.layout.buffers.iter().zip(&self.buffers);
        no_grad(|| {
            for (slot, tensor) in weights.chain(buffers) {
                let values = Tensor::f_from_slice(tensor_of(state, slot, what)?)?.f_view(slot.shape.as_slice())?;
                // The clone shares its storage with the flat tensor, so the optimizer uses the new values too.
                tensor.shallow_clone().f_copy_(&values)?;
            }
            Ok(())
        })
    }

    /// Moves the values towards those of `other` in place: a fraction of 0 changes nothing, 1 copies them.
    pub(crate) fn approach(&mut self, other: &Self, fraction: f64) -> Result<()> {
        let tensors = std::iter::once(&self.flat).chain(&self.buffers);
        for (tensor, target) in tensors.zip(std::iter::once(&other.flat).chain(&other.buffers)) {
            drop(tensor.shallow_clone().f_lerp_(target, fraction)?);
        }
        Ok(())
    }

    pub(crate) fn weight(&self, id: WeightId) -> &Tensor {
        &self.weights[id.0]
    }

    pub(crate) fn buffer(&self, id: BufferId) -> &Tensor {
        &self.buffers[id.0]
    }

    /// All learned values as one vector.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Returns a vector of the length of [`Self::flat`] that is 1 where weight decay applies and 0 elsewhere.
    pub(crate) fn decay_mask(&self) -> Result<Tensor> {
        let mask = self.flat.f_zeros_like()?;
        let mut start = 0;
        for (slot, weight) in self.layout.weights.iter().zip(&self.weights) {
            let decays = slot.decays && weight.requires_grad();
            drop(mask.f_narrow(0, start, slot.numel())?.f_fill_(f64::from(u8::from(decays)))?);
            start += slot.numel();
        }
        Ok(mask)
    }

    /// Returns the gradients of the learned tensors as vectors, in the order of [`Self::flat`]. Contiguous gradients
    /// are not copied.
    pub(crate) fn gradients(&self) -> Result<Vec<Tensor>> {
        let gradient = |weight: &Tensor| -> Result<Tensor> {
            let gradient = weight.f_grad()?;
            let gradient = if gradient.defined() { gradient } else { weight.f_zeros_like()? };
            Ok(gradient.f_reshape([-1])?)
        };
        self.weights.iter().map(gradient).collect()
    }

    /// Sets the gradients to zero.
    pub(crate) fn zero_gradients(&mut self) {
        self.weights.iter_mut().for_each(Tensor::zero_grad);
    }

    /// The type in which convolutions compute.
    pub(crate) fn compute(&self) -> Kind {
        self.compute
    }
}

/// Returns a convolution's weight with channels last in memory, the fastest layout for oneDNN and cuDNN.
pub(crate) fn channels_last(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// Copies a tensor to a tensor of a state.
pub(crate) fn named(name: &str, tensor: &Tensor) -> Result<NamedTensor> {
    let tensor = tensor.f_detach()?.f_to(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let shape = tensor.size().iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
    let mut data = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut data, tensor.numel())?;
    Ok(NamedTensor { name: name.to_owned(), shape, data })
}

fn tensor_of<'a>(state: &'a ModelState, slot: &Slot, what: &str) -> Result<&'a [f32]> {
    let mismatch = |reason: String| Error::WeightsMismatch { what: what.to_owned(), reason };
    let tensor = state.get(&slot.name).ok_or_else(|| mismatch(format!("tensor {} is missing", slot.name)))?;
    if !tensor.shape.iter().map(|side| *side as i64).eq(slot.shape.iter().copied()) {
        return Err(mismatch(format!("{} is {:?} and should be {:?}", slot.name, tensor.shape, slot.shape)));
    }
    Ok(&tensor.data)
}

/// Copies a tensor's values to a vector in row-major order.
pub(crate) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_detach()?.f_to(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}
