//! SGD, Adam and AdamW over one flat vector of weights.
//!
//! The moments are part of the model's state between jobs: workers answer with them, the aggregator averages them as
//! it averages weights, and the next job goes on from the mean. So one worker's run is the run that never stopped,
//! and with several workers no epoch begins with cold moments.

use tch::{Tensor, no_grad};
use tusk_core::options::{ModelSpec, Optimizer as Algorithm};
use tusk_core::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX};

use crate::error::Result;
use crate::nets::layout::{Params, named};

/// Second beta and epsilon of Adam, as in the paper and in PyTorch.
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// How many weights a step moves at a time on a CPU: what is computed on the way stays in the caches, and is no new
/// memory for every step.
const PIECE: usize = 1 << 18;

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
        let square = match spec.optimizer.algorithm {
            Algorithm::Sgd => None,
            Algorithm::Adam | Algorithm::Adamw => Some(stored("exp_avg_sq")?),
        };
        let decays = spec.optimizer.weight_decay > 0.0;
        Ok(Self {
            algorithm: spec.optimizer.algorithm,
            momentum: spec.optimizer.momentum,
            decay: if decays { Some((spec.optimizer.weight_decay, params.decay_mask()?)) } else { None },
            step: f64::from(step.unwrap_or(0.0)),
            average: stored("exp_avg")?,
            square,
        })
    }

    /// Moves the weights against their gradient, in place.
    pub(crate) fn step(&mut self, params: &mut Params, learning_rate: f64) -> Result<()> {
        // On a GPU few large kernels are cheaper than many small ones.
        let piece = if params.flat().device().is_cuda() { usize::MAX } else { PIECE };
        self.step_by_pieces(params, learning_rate, piece)
    }

    /// As [`Self::step`], so many weights at a time: of each weight the same operations, to the bit.
    pub(crate) fn step_by_pieces(&mut self, params: &mut Params, learning_rate: f64, piece: usize) -> Result<()> {
        self.step += 1.0;
        let count = params.flat().numel();
        no_grad(|| -> Result<()> {
            let gradients = params.gradients()?;
            (0..count).step_by(piece).try_for_each(|start| {
                let length = piece.min(count - start);
                let gradient = stretch(&gradients, start, length)?;
                self.update(params.flat(), gradient, learning_rate, (start as i64, length as i64))
            })
        })?;
        params.zero_gradients();
        Ok(())
    }

    /// One step of the weights from `start` on.
    fn update(
        &self,
        flat: &Tensor,
        mut gradient: Tensor,
        learning_rate: f64,
        (start, length): (i64, i64),
    ) -> Result<()> {
        let piece = |tensor: &Tensor| tensor.f_narrow(0, start, length);
        let (mut flat, mut average) = (piece(flat)?, piece(&self.average)?);
        match &self.decay {
            Some((rate, mask)) if self.algorithm == Algorithm::Adamw => {
                let factor = piece(mask)?.f_mul_scalar(-learning_rate * rate)?.f_add_scalar(1.0)?;
                let _ = flat.f_mul_(&factor)?;
            }
            Some((rate, mask)) => {
                gradient = gradient.f_add(&flat.f_mul(&piece(mask)?)?.f_mul_scalar(*rate)?)?;
            }
            None => {}
        }
        let change = match &self.square {
            Some(square) => {
                let mut square = piece(square)?;
                let _ = square.f_lerp_(&gradient.f_square()?, 1.0 - BETA2)?;
                let _ = average.f_lerp_(&gradient, 1.0 - self.momentum)?;
                let corrected = 1.0 - BETA2.powf(self.step);
                let scale = square.f_div_scalar(corrected)?.f_sqrt()?.f_add_scalar(EPSILON)?;
                average.f_div(&scale)?.f_div_scalar(1.0 - self.momentum.powf(self.step))?
            }
            None => {
                let _ = average.f_mul_scalar_(self.momentum)?;
                average.f_add_(&gradient)?
            }
        };
        let _ = flat.f_sub_(&change.f_mul_scalar(learning_rate)?)?;
        Ok(())
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

/// The values from `start` on of tensors that follow each other.
fn stretch(tensors: &[Tensor], start: usize, length: usize) -> Result<Tensor> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for tensor in tensors {
        let end = begin + tensor.numel();
        let (from, to) = (start.max(begin), (start + length).min(end));
        if from < to {
            parts.push(tensor.f_narrow(0, (from - begin) as i64, (to - from) as i64)?);
        }
        begin = end;
    }
    if parts.len() == 1 { Ok(parts.remove(0)) } else { Ok(Tensor::f_cat(&parts, 0)?) }
}
