//! The request to follow a run that was started earlier.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::ids::ModelName;

/// A request to follow a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// The model.
    pub model: ModelName,
    /// The epochs that the client already has: the model name in their rows, and their number.
    pub seen: HashSet<(String, u32)>,
}
