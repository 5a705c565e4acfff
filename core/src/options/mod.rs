//! What a model is to be: the validated form of `USING architecture OPTIONS (...)`.
//!
//! An option is one entry in the file of its group, such as `training.rs`: field, type, default, accepted values,
//! documentation. How it is written in a statement, read from JSON and shown in the manual follows from that.

pub(crate) mod accepts;
mod architecture;
mod augment;
mod averaging;
pub(crate) mod choices;
mod data;
mod declare;
mod distribution;
mod input;
mod net;
mod optimizer;
mod parse;
mod prediction;
mod search;
mod split;
mod start;
mod training;
mod value;

use serde::{Deserialize, Serialize};

pub use architecture::architecture;
pub use augment::Augment;
pub use choices::{
    Features, Freeze, Frequency, Intensity, Loss, Objective, OnLeak, Optimizer, Precision, SearchStrategy,
};
pub use data::DataOptions;
pub use declare::{OptionDef, OptionGroup};
pub use distribution::{Device, DistributionOptions};
pub use input::{InputOptions, Normalize};
pub use net::NetOptions;
pub use optimizer::OptimizerOptions;
pub use parse::parse;
pub use prediction::{PredictionOptions, Threshold};
pub use search::{Dimension, SearchOptions, Values};
pub use split::SplitOptions;
pub use start::StartOptions;
pub use training::{ClassWeights, TrainingOptions};
pub use value::OptionValue;

pub use crate::nets::Architecture;

/// Every option of CREATE MODEL except `resume`, which belongs to the statement and not to the model.
pub static GROUPS: &[OptionGroup] = &[
    net::GROUP,
    data::GROUP,
    input::GROUP,
    training::GROUP,
    optimizer::GROUP,
    start::GROUP,
    distribution::GROUP,
    split::GROUP,
    prediction::GROUP,
    search::GROUP,
];

/// The options of all [`GROUPS`].
pub fn option_defs() -> impl Iterator<Item = &'static OptionDef> {
    GROUPS.iter().flat_map(|group| group.options)
}

/// Everything that a statement asks of a model. Two equal specs on equal data give equal models.
///
/// Its JSON has one level, whatever the group, but for the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The net.
    pub architecture: Architecture,
    /// What the net is made of.
    #[serde(flatten)]
    pub net: NetOptions,
    /// Which columns hold what.
    #[serde(flatten)]
    pub data: DataOptions,
    /// What happens to an image before the net sees it.
    #[serde(flatten)]
    pub input: InputOptions,
    /// How long it trains, and on what loss.
    #[serde(flatten)]
    pub training: TrainingOptions,
    /// How weights follow gradients.
    #[serde(flatten)]
    pub optimizer: OptimizerOptions,
    /// Where it starts.
    #[serde(flatten)]
    pub start: StartOptions,
    /// Who trains, and how workers exchange what they learned.
    #[serde(flatten)]
    pub distribution: DistributionOptions,
    /// Which rows are held out.
    #[serde(flatten)]
    pub split: SplitOptions,
    /// How outputs become an answer.
    #[serde(flatten)]
    pub prediction: PredictionOptions,
    /// What is to be tried, and how.
    #[serde(default)]
    pub search: SearchOptions,
}

impl ModelSpec {
    /// The defaults of an architecture.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        let net = architecture.defaults();
        Self {
            architecture,
            net: NetOptions::default(),
            data: DataOptions::default(),
            input: InputOptions { image_size: net.image_size, ..InputOptions::default() },
            training: TrainingOptions::default(),
            optimizer: OptimizerOptions {
                algorithm: net.optimizer,
                learning_rate: net.learning_rate,
                weight_decay: net.weight_decay,
                schedule: net.schedule,
                ..OptimizerOptions::default()
            },
            start: StartOptions::default(),
            distribution: DistributionOptions::default(),
            split: SplitOptions::default(),
            prediction: PredictionOptions::default(),
            search: SearchOptions::default(),
        }
    }

    /// This spec after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

#[cfg(test)]
mod tests;
