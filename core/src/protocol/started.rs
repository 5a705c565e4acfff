//! The response metadata of a statement that has started a run.

use serde::{Deserialize, Serialize};

use crate::ids::ModelName;

/// The run that a statement has started, as JSON in the `app_metadata` of its `FlightInfo`. A client can follow or
/// cancel the run without parsing the statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The model that is trained.
    pub model: ModelName,
}
