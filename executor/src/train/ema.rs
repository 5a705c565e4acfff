//! The exponential moving average (EMA) of the weights, which is less noisy than the weights themselves (Polyak &
//! Juditsky 1992; with a decay, Tarvainen & Valpola 2017, arXiv 1703.01780).
//!
//! Like the optimizer's moments, it is part of the state that one job passes to the next, and the aggregator averages
//! it over the workers. It includes the running statistics of batch normalisation.

use tch::{Device, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::state::{AVERAGE_PREFIX, ModelState, NamedTensor};

use crate::error::Result;
use crate::nets::layout::Params;
use crate::nets::loaded::LoadedNet;

/// The moving average of a net's weights and running statistics.
#[derive(Debug)]
pub(crate) struct Ema {
    decay: f64,
    params: Params,
}

impl Ema {
    /// Starts from the moving average in `state`, or from the weights in `state` if it has no average yet. Returns
    /// `None` if the definition does not set `ema`.
    pub(crate) fn new(device: Device, definition: &ModelDefinition, state: &ModelState) -> Result<Option<Self>> {
        let Some(decay) = definition.spec.optimizer.ema else { return Ok(None) };
        let average = state.moving_average();
        let loaded = LoadedNet::on(device, definition, average.as_ref().unwrap_or(state), "the moving average")?;
        Ok(Some(Self { decay, params: loaded.params }))
    }

    /// Moves the average towards the weights after a training step. `steps` is the number of steps so far. The first
    /// steps count more, so that the random initial weights lose their influence quickly.
    pub(crate) fn follow(&mut self, params: &Params, steps: f64) -> Result<()> {
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        no_grad(|| self.params.approach(params, 1.0 - decay))
    }

    /// Returns the average as tensors of the state.
    pub(crate) fn state(&self) -> Result<Vec<NamedTensor>> {
        let tensors = self.params.state()?.into_iter();
        Ok(tensors.map(|tensor| NamedTensor { name: format!("{AVERAGE_PREFIX}{}", tensor.name), ..tensor }).collect())
    }
}
