//! `svm`: a linear support vector machine, one weight per feature of the image. With `loss = 'hinge'` and weight decay
//! it is the soft-margin machine of Cortes & Vapnik 1995, found by gradient descent as in Pegasos (Shalev-Shwartz et
//! al. 2007). With the cross-entropies it is logistic regression on the same features; with `mean_squared_error`, that
//! model fitted to its Brier score, for the error is one of probabilities: not least squares.

use super::layers::{Hog, Layer, Layers, Linear};
use super::{Defaults, Input, Net, TensorNames};
use crate::options::{Features, Loss};

/// The machine.
pub(super) static SVM: Net = Net {
    name: "svm",
    summary: "a linear support vector machine (hinge loss, weight decay) on oriented gradients, or on pixels",
    paper: None,
    names: TensorNames::Own,
    defaults: Defaults { image_size: 128, loss: Some(Loss::Hinge), ..Defaults::COMMON },
    layers,
};

fn layers(input: &Input) -> Layers {
    let (seen, values) = match input.features {
        Features::Hog => (vec![Layer::Hog, Layer::Flatten], Hog::values(input.side)),
        Features::Pixels => (vec![Layer::Flatten], input.channels * input.side * input.side),
    };
    // A linear model has no feature maps.
    Layers { features: Vec::new(), classify: seen, head: Linear::new("fc", values, input.outputs) }
}
