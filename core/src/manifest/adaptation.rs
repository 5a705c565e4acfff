//! The adaptations of a model to the images of sites.

use serde::{Deserialize, Serialize};

use crate::ids::ModelName;
use crate::metrics::ClassPrior;

/// Maximum number of adaptations of a model.
pub const ADAPTATIONS_MAX: usize = 1000;

/// One adaptation, as ADAPT MODEL reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// The table, or the query in parentheses.
    pub source: String,
    /// Readable images.
    pub images: u64,
    /// Unreadable images.
    pub skipped: u64,
    /// Number of workers.
    pub workers: u32,
    /// Rows per batch. `None` if the statistics of the normalization layers were not adapted.
    pub batch_size: Option<u32>,
    /// The weight of the new statistics, from 0 to 1; those before have the rest.
    pub strength: f64,
    /// The class frequencies for which probabilities are corrected. `None` if they are not.
    pub prior: Option<ClassPrior>,
    /// When it ended, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The model that was adapted.
    pub model: ModelName,
    /// BLAKE3 of the weights of that model, in hexadecimal.
    pub weights: String,
}

impl Adaptation {
    /// Checks that the values are valid, because files are not trusted.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
    pub(super) fn check(&self, classes: usize) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.strength) {
            return Err(format!("the strength of an adaptation must be from 0 to 1, got {}", self.strength));
        }
        match &self.prior {
            Some(prior) if !prior.is_for(classes) => {
                Err(format!("the class frequencies {prior:?} of an adaptation do not fit {classes} classes"))
            }
            _ => Ok(()),
        }
    }
}
