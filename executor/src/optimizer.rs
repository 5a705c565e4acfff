//! SGD, Adam and AdamW over one flat vector of weights.
//!
//! The moments are part of the model's state between jobs: workers answer with them, the aggregator averages them as
//! it averages weights, and the next job goes on from the mean. So one worker's run is the run that never stopped,
//! and with several workers no epoch begins with cold moments.

use tch::{Tensor, no_grad};
use tusk_core::spec::{ModelSpec, Optimizer as Algorithm};
use tusk_core::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX};

use crate::error::Result;
use crate::nets::layout::{Params, named};

/// Second beta and epsilon of Adam, as in the paper and in PyTorch.
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// An optimizer with its moments.
#[derive(Debug)]
pub(crate) struct Optimizer {
    algorithm: Algorithm,
    momentum: f64,
    /// How much, and where: as [`Params::decay_mask`]. None where nothing decays.
    decay: Option<(f64, Tensor)>,
    step: f64,
    /// First moment, or SGD's momentum buffer.
    average: Tensor,
    /// Second moment of Adam.
    square: Option<Tensor>,
}

impl Optimizer {
    /// The optimizer of a spec, with the moments of `state` where it has them.
    pub(crate) fn new(spec: &ModelSpec, params: &Params, state: &ModelState) -> Result<Self> {
        let stored = |name: &str| -> Result<Tensor> {
            match state.get(&format!("{OPTIMIZER_PREFIX}{name}")) {
                Some(tensor) if tensor.data.len() == params.flat().numel() => {
                    Ok(Tensor::f_from_slice(&tensor.data)?.f_to(params.flat().device())?)
                }
                _ => Ok(params.flat().f_zeros_like()?),
            }
        };
        let step = state.get(&format!("{OPTIMIZER_PREFIX}step")).and_then(|t| t.data.first().copied());
        let square = match spec.optimizer {
            Algorithm::Sgd => None,
            Algorithm::Adam | Algorithm::Adamw => Some(stored("exp_avg_sq")?),
        };
        let decays = spec.weight_decay > 0.0;
        Ok(Self {
            algorithm: spec.optimizer,
            momentum: spec.momentum,
            decay: if decays { Some((spec.weight_decay, params.decay_mask()?)) } else { None },
            step: f64::from(step.unwrap_or(0.0)),
            average: stored("exp_avg")?,
            square,
        })
    }

    /// Moves the weights against their gradient, in place.
    pub(crate) fn step(&mut self, params: &mut Params, learning_rate: f64) -> Result<()> {
        let gradient = params.flat_gradient()?;
        params.zero_gradients();
        self.step += 1.0;
        no_grad(|| {
            let mut flat = params.flat().shallow_clone();
            let mut gradient = gradient;
            match &self.decay {
                Some((rate, mask)) if self.algorithm == Algorithm::Adamw => {
                    let factor = mask.f_mul_scalar(-learning_rate * rate)?.f_add_scalar(1.0)?;
                    let _ = flat.f_mul_(&factor)?;
                }
                Some((rate, mask)) => gradient = gradient.f_add(&flat.f_mul(mask)?.f_mul_scalar(*rate)?)?,
                None => {}
            }
            let update = match &mut self.square {
                Some(square) => {
                    let _ = square.f_lerp_(&gradient.f_square()?, 1.0 - BETA2)?;
                    let _ = self.average.f_lerp_(&gradient, 1.0 - self.momentum)?;
                    let corrected = 1.0 - BETA2.powf(self.step);
                    let scale = square.f_div_scalar(corrected)?.f_sqrt()?.f_add_scalar(EPSILON)?;
                    self.average.f_div(&scale)?.f_div_scalar(1.0 - self.momentum.powf(self.step))?
                }
                None => {
                    let _ = self.average.f_mul_scalar_(self.momentum)?;
                    self.average.f_add_(&gradient)?.shallow_clone()
                }
            };
            let _ = flat.f_sub_(&update.f_mul_scalar(learning_rate)?)?;
            Ok(())
        })
    }

    /// Steps taken, those of earlier jobs included.
    pub(crate) fn steps(&self) -> f64 {
        self.step
    }

    /// The moments as tensors of the model's state.
    pub(crate) fn state(&self) -> Result<Vec<NamedTensor>> {
        let step =
            NamedTensor { name: format!("{OPTIMIZER_PREFIX}step"), shape: vec![1], data: vec![self.step as f32] };
        let mut tensors = vec![step, named(&format!("{OPTIMIZER_PREFIX}exp_avg"), &self.average)?];
        if let Some(square) = &self.square {
            tensors.push(named(&format!("{OPTIMIZER_PREFIX}exp_avg_sq"), square)?);
        }
        Ok(tensors)
    }
}
