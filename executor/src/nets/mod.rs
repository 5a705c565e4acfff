//! The nets, one per file, and the one place that knows them all.

mod cnn;
mod cnn_reference;
pub(crate) mod layers;
pub(crate) mod layout;
mod resnet;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use tch::Tensor;
use tusk_core::spec::Architecture;

use crate::error::Result;
use layout::{Layout, Params};

/// A net: a function of its parameters and a batch of pictures.
pub(crate) trait Net: Debug + Send {
    /// Pictures `[n, channels, side, side]` to outputs `[n, outputs]` in f32. In training, normalisation uses and
    /// updates the batch's statistics; else the running ones.
    fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor>;
}

/// The net of an architecture and the tensors it has.
pub(crate) fn build(architecture: Architecture, channels: u8, outputs: usize) -> (Box<dyn Net>, Layout) {
    let mut layout = Layout::default();
    let (channels, outputs) = (i64::from(channels), i64::try_from(outputs).unwrap_or(i64::MAX));
    let net: Box<dyn Net> = match architecture {
        Architecture::Cnn => Box::new(cnn::Cnn::new(&mut layout, channels, outputs)),
        Architecture::CnnReference => Box::new(cnn_reference::CnnReference::new(&mut layout, channels, outputs)),
        Architecture::Resnet18 => Box::new(resnet::Resnet::resnet18(&mut layout, channels, outputs)),
    };
    (net, layout)
}
