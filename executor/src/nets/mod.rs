//! Computes the nets that `tusk_core::nets` describes.

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

/// A net: a function of its parameters and a batch of images.
#[derive(Debug)]
pub(crate) struct Network {
    features: Sequence,
    classify: Sequence,
    head: Linear,
}

impl Network {
    /// The net of these layers, and the tensors it has.
    pub(crate) fn new(layers: &Layers) -> (Self, Layout) {
        let mut layout = Layout::default();
        let features = Sequence::new(&mut layout, &layers.features);
        let classify = Sequence::new(&mut layout, &layers.classify);
        let head = Linear::undecided(&mut layout, &layers.head);
        (Self { features, classify, head }, layout)
    }

    /// Images `[n, channels, side, side]` to maps of what was found where, `[n, features, height, width]`.
    pub(crate) fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.features.forward(params, x, pass)
    }

    /// Such maps to outputs `[n, outputs]` in f32.
    pub(crate) fn classify(&self, params: &Params, maps: &Tensor, pass: Pass) -> Result<Tensor> {
        self.head.forward(params, &self.classify.forward(params, maps, pass)?)
    }

    /// Images to outputs.
    pub(crate) fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.classify(params, &self.features(params, x, pass)?, pass)
    }
}

/// The layers of a spec's net for images of this kind.
pub(crate) fn layers(spec: &ModelSpec, preprocessing: &Preprocessing, outputs: usize) -> Layers {
    let input = Input {
        channels: i64::from(preprocessing.channels),
        side: i64::from(preprocessing.image_size),
        outputs: i64::try_from(outputs).unwrap_or(i64::MAX),
        features: spec.net.features,
    };
    // Of an ensemble only the members are built; checked where definitions come in.
    (spec.architecture.net().unwrap_or(DEFAULT).layers)(&input)
}
