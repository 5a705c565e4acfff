//! The nets, one per file, and the one place that knows them all.

mod cnn;
mod cnn_reference;
pub(crate) mod layers;
pub(crate) mod layout;
mod resnet;
#[cfg(test)]
mod tests;
mod vgg;

use std::fmt::Debug;

use tch::Tensor;
use tusk_core::spec::Architecture;

use crate::error::Result;
use layout::{Layout, Params};

/// What a pass through a net is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Normalisation uses its running statistics, and nothing is random.
    Predict,
    /// Normalisation uses and updates the batch's statistics; what is random follows from the seed.
    Train {
        /// Another one for every step.
        seed: u64,
    },
}

impl Pass {
    fn trains(self) -> bool {
        self != Self::Predict
    }
}

/// A net: a function of its parameters and a batch of pictures.
pub(crate) trait Net: Debug + Send {
    /// Pictures `[n, channels, side, side]` to outputs `[n, outputs]` in f32.
    fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor>;
}

/// The net of an architecture and the tensors it has.
pub(crate) fn build(architecture: Architecture, channels: u8, outputs: usize) -> (Box<dyn Net>, Layout) {
    let mut layout = Layout::default();
    let (channels, outputs) = (i64::from(channels), i64::try_from(outputs).unwrap_or(i64::MAX));
    let net: Box<dyn Net> = match architecture {
        Architecture::Cnn => Box::new(cnn::Cnn::new(&mut layout, channels, outputs)),
        Architecture::CnnReference => Box::new(cnn_reference::CnnReference::new(&mut layout, channels, outputs)),
        Architecture::Vgg16 => Box::new(vgg::Vgg16::new(&mut layout, channels, outputs)),
        Architecture::Resnet18 => Box::new(resnet::Resnet::resnet18(&mut layout, channels, outputs)),
        Architecture::Resnet50 => Box::new(resnet::Resnet::resnet50(&mut layout, channels, outputs)),
    };
    (net, layout)
}

/// The name of an architecture's last layer, whose shape follows from the classes.
pub(crate) fn head(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Vgg16 => vgg::Vgg16::HEAD,
        Architecture::Cnn | Architecture::CnnReference | Architecture::Resnet18 | Architecture::Resnet50 => "fc",
    }
}
