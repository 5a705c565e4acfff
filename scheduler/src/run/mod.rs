//! One training run, from its rows to its published model.

mod data;
mod progress;
mod training;
mod validation;

use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;
use tusk_core::ids::ModelName;
use tusk_core::spec::ModelSpec;

pub(crate) use training::{Run, RunContext, explain, unix_ms};

/// What a validated CREATE MODEL asks of the training service.
#[derive(Clone, Debug)]
pub struct TrainingRequest {
    /// The model.
    pub name: ModelName,
    /// What it is to be.
    pub spec: ModelSpec,
    /// The rows to learn from: columns image, label, group, name.
    pub train: Arc<dyn ExecutionPlan>,
    /// The rows to validate on, if they are not a share of the training rows.
    pub validate: Option<Arc<dyn ExecutionPlan>>,
    /// How errors call the rows: the table's name, or "the query".
    pub train_name: String,
    /// Whether a model of this name may be replaced.
    pub or_replace: bool,
    /// Whether to go on from the last checkpoint.
    pub resume: bool,
}
