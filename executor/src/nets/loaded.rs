//! A net with its weights on a device, used by training, validation and prediction.

use tch::{Device, Kind, Tensor};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::{Freeze, Loss, Precision};
use tusk_core::state::ModelState;

use crate::error::Result;
use crate::nets::layout::{Params, to_vec};
use crate::nets::{Network, layers};

/// A net with its weights on a device.
#[derive(Debug)]
pub(crate) struct LoadedNet {
    pub(crate) net: Network,
    pub(crate) params: Params,
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    loss: Loss,
    positive: Option<usize>,
}

/// The number of outputs of a definition's net: one logit for two classes, unless the loss needs one per class;
/// otherwise one per class.
pub(crate) fn outputs(definition: &ModelDefinition) -> usize {
    match definition.loss {
        Loss::CategoricalCrossentropy => definition.classes.len(),
        _ if definition.classes.len() == 2 => 1,
        _ => definition.classes.len(),
    }
}

/// Returns the initial state that follows from the definition's seed.
pub(crate) fn initial_state(definition: &ModelDefinition) -> ModelState {
    let (_, layout) = Network::new(&layers(&definition.spec, &definition.preprocessing, outputs(definition)));
    layout.initial_state(definition.spec.training.seed)
}

impl LoadedNet {
    /// Loads the net of a definition with the weights in `state` on the device that the definition asks for. `what`
    /// names the weights in errors.
    #[cfg(test)]
    pub(crate) fn new(definition: &ModelDefinition, state: &ModelState, what: &str) -> Result<Self> {
        Self::on(crate::runtime::devices::device(definition.spec.distribution.device)?, definition, state, what)
    }

    /// Folds batch normalisation into the convolutions. The result can only predict.
    pub(crate) fn folded(mut self) -> Result<Self> {
        self.params.fold()?;
        Ok(self)
    }

    /// Loads the net of a definition with the weights in `state` on a device. `what` names the weights in errors.
    pub(crate) fn on(device: Device, definition: &ModelDefinition, state: &ModelState, what: &str) -> Result<Self> {
        let kind = if definition.precision == Precision::Bf16 { Kind::BFloat16 } else { Kind::Float };
        let layers = layers(&definition.spec, &definition.preprocessing, outputs(definition));
        let (net, layout) = Network::new(&layers);
        let learns = match definition.spec.start.freeze {
            Freeze::None => String::new(),
            Freeze::Backbone => format!("{}.", layers.head.name),
        };
        let params = Params::load(layout, state, what, (device, kind), &learns)?;
        if device.is_cuda() {
            // The batches of a run have one or two shapes, so benchmarking each convolution once is worth its time.
            tch::Cuda::cudnn_set_benchmark(true);
        }
        Ok(Self { net, params, device, kind, loss: definition.loss, positive: definition.positive })
    }

    /// Computes the loss of each row, `[n]`, from outputs `[n, outputs]` and class indices `[n]` (i64).
    pub(crate) fn row_losses(&self, outputs: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let one_logit = outputs.size().get(1) == Some(&1);
        let truth = || -> Result<Tensor> {
            let positive = self.positive.unwrap_or(1) as i64;
            Ok(classes.f_eq(positive)?.f_to_kind(Kind::Float)?)
        };
        Ok(match (self.loss, one_logit) {
            (Loss::MeanSquaredError, true) => outputs.f_sigmoid()?.f_squeeze_dim(1)?.f_sub(&truth()?)?.f_square()?,
            (Loss::MeanSquaredError, false) => {
                let wanted = classes.f_one_hot(outputs.size()[1])?.f_to_kind(Kind::Float)?;
                let error = outputs.f_softmax(1, Kind::Float)?.f_sub(&wanted)?.f_square()?;
                error.f_sum_dim_intlist(&[1_i64][..], false, Kind::Float)?
            }
            (Loss::Hinge, true) => {
                let side = truth()?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?;
                outputs.f_squeeze_dim(1)?.f_mul(&side)?.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(0.0)?
            }
            (Loss::Hinge, false) => {
                let wanted = classes.f_one_hot(outputs.size()[1])?.f_to_kind(Kind::Float)?;
                let side = wanted.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?;
                let short = outputs.f_mul(&side)?.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(0.0)?;
                short.f_sum_dim_intlist(&[1_i64][..], false, Kind::Float)?
            }
            (_, true) => {
                let logits = outputs.f_squeeze_dim(1)?;
                let none = None::<&Tensor>;
                logits.f_binary_cross_entropy_with_logits(&truth()?, none, none, tch::Reduction::None)?
            }
            (_, false) => {
                let log_probabilities = outputs.f_log_softmax(1, Kind::Float)?;
                log_probabilities.f_gather(1, &classes.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()?
            }
        })
    }

    /// Computes class probabilities `[n * classes]`, row-major, from outputs `[n, outputs]`.
    pub(crate) fn probabilities(&self, outputs: &Tensor) -> Result<Vec<f32>> {
        if outputs.size().get(1) != Some(&1) {
            return to_vec(&outputs.f_softmax(1, Kind::Float)?);
        }
        let positive = to_vec(&outputs.f_sigmoid()?)?;
        let positive_first = self.positive == Some(0);
        Ok(positive.into_iter().flat_map(|p| if positive_first { [p, 1.0 - p] } else { [1.0 - p, p] }).collect())
    }

    /// Returns the score of one class per image, `[n, 1]`, from outputs `[n, outputs]`. It is the logit of the class,
    /// or its negative for the other class of a single logit.
    pub(crate) fn class_scores(&self, outputs: &Tensor, classes: &[i64]) -> Result<Tensor> {
        let classes = Tensor::f_from_slice(classes)?.f_view([-1, 1])?.f_to(self.device)?;
        if outputs.size().get(1) != Some(&1) {
            return Ok(outputs.f_gather(1, &classes, false)?);
        }
        let is_positive = classes.f_eq(self.positive.unwrap_or(1) as i64)?.f_to_kind(outputs.kind())?;
        Ok(outputs.f_mul(&is_positive.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?)?)
    }
}
