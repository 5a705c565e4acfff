//! Computes the nets that `tusk_core::nets` defines.

mod hog;
mod layers;
pub(crate) mod layout;
pub(crate) mod loaded;
#[cfg(test)]
mod loaded_tests;
mod sequence;
#[cfg(test)]
mod tests;

use tch::Tensor;
use tusk_core::manifest::Preprocessing;
use tusk_core::nets::{DEFAULT, Input, Layers};
use tusk_core::options::ModelSpec;

use crate::error::Result;
use layers::Linear;
use layout::{Layout, Params};
use sequence::Sequence;

/// The purpose of a forward pass through a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Batch normalisation uses the running statistics, and nothing is random.
    Predict,
    /// Batch normalisation uses the statistics of the batch and updates the running ones. All random numbers follow
    /// from the seed.
    Train {
        /// The seed of the pass, which differs between steps.
        seed: u64,
    },
    /// Batch normalisation uses the statistics of the batch and replaces the running ones by them, in frozen layers
    /// too. Nothing is random.
    Measure,
}

/// A net: a function of its parameters and a batch of images.
#[derive(Debug)]
pub(crate) struct Network {
    features: Sequence,
    classify: Sequence,
    head: Linear,
}

impl Network {
    /// Creates the net of these layers and the layout of its tensors.
    pub(crate) fn new(layers: &Layers) -> (Self, Layout) {
        let mut layout = Layout::default();
        let features = Sequence::new(&mut layout, &layers.features);
        let classify = Sequence::new(&mut layout, &layers.classify);
        let head = Linear::last(&mut layout, &layers.head);
        (Self { features, classify, head }, layout)
    }

    /// Computes the feature maps `[n, features, height, width]` of net inputs `[n, channels, side, side]`.
    pub(crate) fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.features.forward(params, x, pass)
    }

    /// Computes the outputs `[n, outputs]`, in f32, of feature maps.
    pub(crate) fn classify(&self, params: &Params, maps: &Tensor, pass: Pass) -> Result<Tensor> {
        self.head.forward(params, &self.classify.forward(params, maps, pass)?)
    }

    /// Computes the outputs `[n, outputs]`, in f32, of net inputs.
    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.classify(params, &self.features(params, x, pass)?, pass)
    }
}

/// The layers of a spec's net for images with this preprocessing.
pub(crate) fn layers(spec: &ModelSpec, preprocessing: &Preprocessing, outputs: usize) -> Layers {
    let input = Input {
        channels: i64::from(preprocessing.channels),
        side: i64::from(preprocessing.image_size),
        outputs: i64::try_from(outputs).unwrap_or(i64::MAX),
        features: spec.net.features,
    };
    // An ensemble has no net of its own. Definitions are checked when they are read, so the default is never used.
    (spec.architecture.net().unwrap_or(DEFAULT).layers)(&input)
}
