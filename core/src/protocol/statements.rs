//! What a client shows of a statement.

use serde::{Deserialize, Serialize};

/// A statement about models, for a shell's help and completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementHelp {
    /// Its grammar: words in capitals are keywords.
    pub syntax: String,
    /// What it does.
    pub meaning: String,
}
