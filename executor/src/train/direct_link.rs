//! The connection of a worker to the parameter server of its own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tusk_core::protocol::parameters::{
    ParameterServer, Pull, Pulled, PulledWeights, Push, Pushed, Refused, SharedTensor,
};
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::{Error, Result};
use crate::train::parameter_client::Link;

/// Calls the parameter server directly.
#[derive(Debug)]
pub(crate) struct DirectLink {
    server: Arc<dyn ParameterServer>,
    cancelled: Arc<AtomicBool>,
}

impl DirectLink {
    pub(crate) fn new(server: Arc<dyn ParameterServer>, cancelled: Arc<AtomicBool>) -> Self {
        Self { server, cancelled }
    }

    fn unless_cancelled(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl Link for DirectLink {
    fn pull(&self, pull: &Pull, _like: &ModelState) -> Result<(Pulled, Option<ModelState>)> {
        self.unless_cancelled()?;
        let (pulled, tensors) = self.server.pull(pull).map_err(refused)?;
        let weights = match pulled.weights {
            PulledWeights::Follow(_) => Some(ModelState::new(tensors.into_iter().map(own))),
            PulledWeights::Missing | PulledWeights::Unchanged => None,
        };
        Ok((pulled, weights))
    }

    fn push(&self, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed> {
        self.unless_cancelled()?;
        self.server.push(push, tensors).map_err(refused)
    }
}

/// Copies a tensor, unless a push has replaced its values and nothing else reads them.
fn own(tensor: SharedTensor) -> NamedTensor {
    let SharedTensor { name, shape, data } = tensor;
    NamedTensor { name, shape, data: Arc::unwrap_or_clone(data) }
}

fn refused(refused: Refused) -> Error {
    Error::Parameters { place: "of this process".to_owned(), reason: refused.reason }
}
