//! The records of evaluations: the last result of each kind that is on the card of a model.

use serde::{Deserialize, Serialize};

use super::{NuisanceUse, USES_MAX};
use crate::metrics::Interval;

/// Maximum number of rows of a stress test in a record.
pub const STRESS_ROWS_MAX: usize = 100;

/// Maximum length of the source's name in a record, in characters.
pub const SOURCE_CHARS_MAX: usize = 200;

/// The last evaluation of one kind that was run on a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// BLAKE3 of the weights that were evaluated, in hexadecimal. A model that is replaced has others.
    pub weights: String,
    /// The name of the rows: the table's name, or "the query".
    pub source: String,
    /// Number of rows with a readable image.
    pub rows: u64,
    /// Number of rows with an unreadable image.
    pub skipped: u64,
    /// When it ended, in milliseconds since 1970.
    pub evaluated_unix_ms: u64,
    /// The result.
    pub result: EvaluationResult,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationResult {
    /// A stress test.
    Stress {
        /// The threshold of all rows. Only for two classes.
        threshold: Option<f64>,
        /// The images as they are, then each change.
        changes: Vec<StressRow>,
    },
    /// How far the scores follow nuisances.
    Shortcuts {
        /// Number of images that were measured.
        images: u64,
        /// The uses, the strongest first.
        uses: Vec<NuisanceUse>,
    },
}

/// The metrics of a model on changed images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StressRow {
    /// The name of the change, or `as is`.
    pub change: String,
    /// The change of the mean score. `None` if no image is readable.
    pub score_change: Option<f64>,
    /// The balanced accuracy.
    pub balanced_accuracy: Interval,
    /// The recall.
    pub recall: Interval,
    /// The specificity.
    pub specificity: Interval,
    /// The ROC AUC.
    pub roc_auc: Interval,
}

/// The kinds of evaluations of which the last is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationKind {
    /// A stress test.
    Stress,
    /// How far the scores follow nuisances.
    Shortcuts,
}

impl EvaluationKind {
    /// All kinds, in the order of the card.
    pub const ALL: [Self; 2] = [Self::Shortcuts, Self::Stress];

    /// Returns its value of the option `show`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stress => "stress",
            Self::Shortcuts => "shortcuts",
        }
    }
}

impl EvaluationRecord {
    /// Returns the kind of its result.
    #[must_use]
    pub fn kind(&self) -> EvaluationKind {
        match self.result {
            EvaluationResult::Stress { .. } => EvaluationKind::Stress,
            EvaluationResult::Shortcuts { .. } => EvaluationKind::Shortcuts,
        }
    }

    /// Checks the sizes, because files are not trusted.
    ///
    /// # Errors
    /// Returns a description of what is too large.
    pub fn check(&self) -> Result<(), String> {
        if self.source.chars().count() > SOURCE_CHARS_MAX {
            return Err(format!("the name of its rows has more than {SOURCE_CHARS_MAX} characters"));
        }
        match &self.result {
            EvaluationResult::Stress { changes, .. } if changes.len() > STRESS_ROWS_MAX => {
                Err(format!("it has {} changes, more than {STRESS_ROWS_MAX}", changes.len()))
            }
            EvaluationResult::Shortcuts { uses, .. } if uses.len() > USES_MAX => {
                Err(format!("it has {} nuisances, more than {USES_MAX}", uses.len()))
            }
            _ => Ok(()),
        }
    }
}
