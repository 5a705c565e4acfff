//! The options of CREATE MODEL: the validated form of `USING architecture OPTIONS (...)`.
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
mod set;
mod split;
mod start;
mod training;
mod value;

use serde::{Deserialize, Serialize};

pub use architecture::architecture;
pub use augment::Augment;
pub use choices::{
    Features, Freeze, Frequency, Intensity, Loss, Objective, OnLeak, OnShortcut, Optimizer, Precision, Resize,
    SearchStrategy,
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

/// All options of a model. Equal specs on equal data give equal models.
///
/// In JSON, the options of all groups are fields of one object, except the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The net.
    pub architecture: Architecture,
    /// The net and its number format.
    #[serde(flatten)]
    pub net: NetOptions,
    /// The columns of the training table.
    #[serde(flatten)]
    pub data: DataOptions,
    /// How images are prepared for the net.
    #[serde(flatten)]
    pub input: InputOptions,
    /// How long it trains, and which loss it minimises.
    #[serde(flatten)]
    pub training: TrainingOptions,
    /// How weights are updated from gradients.
    #[serde(flatten)]
    pub optimizer: OptimizerOptions,
    /// The initial weights.
    #[serde(flatten)]
    pub start: StartOptions,
    /// How many workers train, where, and how they exchange weights.
    #[serde(flatten)]
    pub distribution: DistributionOptions,
    /// Which rows are held out for validation.
    #[serde(flatten)]
    pub split: SplitOptions,
    /// How probabilities become a class.
    #[serde(flatten)]
    pub prediction: PredictionOptions,
    /// The search, if there is one.
    #[serde(default)]
    pub search: SearchOptions,
}

impl ModelSpec {
    /// Returns the defaults of an architecture.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        let net = architecture.defaults();
        Self {
            architecture,
            net: NetOptions::default(),
            data: DataOptions::default(),
            input: InputOptions { image_size: net.image_size, ..InputOptions::default() },
            training: TrainingOptions { epochs: net.epochs, ..TrainingOptions::default() },
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

    /// Returns the spec after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

#[cfg(test)]
mod tests;
