//! SGD, Adam and AdamW over one flat vector of weights.
//!
//! The moments are part of the state that one job passes to the next. Workers return them, the aggregator averages them
//! like weights, and the next job starts from the mean. With one worker, a run in several jobs gives the same weights
//! as a run without interruption. With several workers, no epoch starts with zero moments.

use tch::{Tensor, no_grad};
use tusk_core::options::{ModelSpec, Optimizer as Algorithm};
use tusk_core::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX};

use crate::error::Result;
use crate::nets::layout::{Params, named};

/// Second beta and epsilon of Adam, as in the paper and in PyTorch.
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The number of weights that a step updates at a time on a CPU. Intermediate values of this size stay in the
/// processor's caches, and their memory is reused.
const PIECE: usize = 1 << 18;

/// An optimizer with its moments.
#[derive(Debug)]
pub(crate) struct Optimizer {
    algorithm: Algorithm,
    momentum: f64,
    /// The rate of weight decay and [`Params::decay_mask`]. `None` if weight decay is off.
    decay: Option<(f64, Tensor)>,
    step: f64,
    /// First moment, or SGD's momentum buffer.
    average: Tensor,
    /// Second moment of Adam.
    square: Option<Tensor>,
}

impl Optimizer {
    /// Creates the optimizer of a spec, with the moments in `state`, or zero moments if it has none.
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

    /// Updates the weights in place by one step.
    pub(crate) fn step(&mut self, params: &mut Params, learning_rate: f64) -> Result<()> {
        // On a GPU, a few large kernels are faster than many small ones.
        let piece = if params.flat().device().is_cuda() { usize::MAX } else { PIECE };
        self.step_by_pieces(params, learning_rate, piece)
    }

    /// Like [`Self::step`], but updates `piece` weights at a time. The size does not change the result.
    pub(crate) fn step_by_pieces(&mut self, params: &mut Params, learning_rate: f64, piece: usize) -> Result<()> {
        self.step += 1.0;
        let count = params.flat().numel();
        no_grad(|| -> Result<()> {
            let gradients = params.gradients()?;
            (0..count).step_by(piece).try_for_each(|start| {
                let length = piece.min(count - start);
                let gradient = range_of(&gradients, start, length)?;
                self.update(params.flat(), gradient, learning_rate, (start as i64, length as i64))
            })
        })?;
        params.zero_gradients();
        Ok(())
    }

    /// Updates the `length` weights from `start` on.
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

    /// The number of steps so far, including those of earlier jobs.
    pub(crate) fn steps(&self) -> f64 {
        self.step
    }

    /// Returns the moments as tensors of the state.
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

/// Returns `length` values from `start` on of the concatenated tensors.
fn range_of(tensors: &[Tensor], start: usize, length: usize) -> Result<Tensor> {
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
