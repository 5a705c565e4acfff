//! A run that is watched by one who did not start it, or lost sight of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::ids::ModelName;

/// Which run to follow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// The model.
    pub model: ModelName,
    /// The epochs that are known already: the model's name in their rows, and their number.
    pub seen: HashSet<(String, u32)>,
}
