//! What the answer to a statement says of the run that the statement has begun.

use serde::{Deserialize, Serialize};

use crate::ids::ModelName;

/// In the `app_metadata` of a `FlightInfo`, as JSON, where the rows are a run's epochs: a client learns from it which run
/// to follow and to cancel, and needs no parser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The model that is trained.
    pub model: ModelName,
}
