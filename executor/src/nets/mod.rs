//! The nets, one per file, and the one place that knows them all.

mod cnn;
mod cnn_reference;
mod densenet;
pub(crate) mod layers;
pub(crate) mod layout;
mod resnet;
mod svm;
#[cfg(test)]
mod tests;
mod vgg;

use std::fmt::Debug;

use tch::Tensor;
use tusk_core::manifest::Preprocessing;
use tusk_core::options::{Architecture, ModelSpec};

use crate::error::Result;
pub(crate) use cnn::FOLD as CNN_FOLD;
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
    /// Pictures `[n, channels, side, side]` to maps of what was found where, `[n, features, height, width]`.
    fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor>;

    /// Such maps to outputs `[n, outputs]` in f32.
    fn classify(&self, params: &Params, maps: &Tensor, pass: Pass) -> Result<Tensor>;

    /// Pictures to outputs.
    fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.classify(params, &self.features(params, x, pass)?, pass)
    }
}

/// The net of a spec for pictures of this kind, and the tensors it has.
pub(crate) fn build(spec: &ModelSpec, pictures: &Preprocessing, outputs: usize) -> (Box<dyn Net>, Layout) {
    let mut layout = Layout::default();
    let (channels, side) = (i64::from(pictures.channels), i64::from(pictures.image_size));
    let outputs = i64::try_from(outputs).unwrap_or(i64::MAX);
    let net: Box<dyn Net> = match spec.architecture {
        // Of an ensemble only the members are built; checked where definitions come in.
        Architecture::Cnn | Architecture::Ensemble => Box::new(cnn::Cnn::new(&mut layout, channels, outputs)),
        Architecture::CnnReference => Box::new(cnn_reference::CnnReference::new(&mut layout, channels, outputs)),
        Architecture::Vgg16 => Box::new(vgg::Vgg16::new(&mut layout, channels, outputs)),
        Architecture::Resnet18 => Box::new(resnet::Resnet::resnet18(&mut layout, channels, outputs)),
        Architecture::Resnet50 => Box::new(resnet::Resnet::resnet50(&mut layout, channels, outputs)),
        Architecture::Densenet121 => Box::new(densenet::Densenet121::new(&mut layout, channels, outputs)),
        Architecture::Svm => Box::new(svm::Svm::new(&mut layout, spec.net.features, (channels, side), outputs)),
    };
    (net, layout)
}

/// The name of an architecture's last layer, whose shape follows from the classes.
pub(crate) fn head(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Vgg16 => vgg::Vgg16::HEAD,
        Architecture::Densenet121 => densenet::Densenet121::HEAD,
        Architecture::Cnn
        | Architecture::CnnReference
        | Architecture::Resnet18
        | Architecture::Resnet50
        | Architecture::Svm
        | Architecture::Ensemble => "fc",
    }
}
