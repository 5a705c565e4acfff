//! The exponential moving average of the weights: smoother than where the last steps left them (Polyak & Juditsky 1992;
//! with a decay, Tarvainen & Valpola 2017, arXiv 1703.01780).
//!
//! It is part of the state between jobs, as the optimizer's moments are: the aggregator averages it over the workers.
//! Running statistics are averaged with the weights they belong to.

use tch::{Device, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::state::{AVERAGE_PREFIX, ModelState, NamedTensor};

use crate::error::Result;
use crate::nets::layout::Params;
use crate::nets::loaded::LoadedNet;

/// A second set of the weights that follows the first slowly.
#[derive(Debug)]
pub(crate) struct Ema {
    decay: f64,
    params: Params,
}

impl Ema {
    /// The average in a state; where it has none yet, the state itself. `None` where the definition asks for none.
    pub(crate) fn new(device: Device, definition: &ModelDefinition, state: &ModelState) -> Result<Option<Self>> {
        let Some(decay) = definition.spec.optimizer.ema else { return Ok(None) };
        let average = state.moving_average();
        let loaded = LoadedNet::on(device, definition, average.as_ref().unwrap_or(state), "the moving average")?;
        Ok(Some(Self { decay, params: loaded.params }))
    }

    /// Takes a step towards the weights; `steps` were taken in all. The first ones count for more: the start is no
    /// weight to remember.
    pub(crate) fn follow(&mut self, params: &Params, steps: f64) -> Result<()> {
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        no_grad(|| self.params.approach(params, 1.0 - decay))
    }

    /// The average as tensors of the model's state.
    pub(crate) fn state(&self) -> Result<Vec<NamedTensor>> {
        let tensors = self.params.state()?.into_iter();
        Ok(tensors.map(|tensor| NamedTensor { name: format!("{AVERAGE_PREFIX}{}", tensor.name), ..tensor }).collect())
    }
}
