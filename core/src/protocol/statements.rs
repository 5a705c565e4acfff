//! What a client shows of a statement.

use serde::{Deserialize, Serialize};

/// A statement about models, for a shell's help and completion, and for the manual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementHelp {
    /// Its first words.
    pub name: String,
    /// Its grammar. Keywords are in capitals.
    pub syntax: String,
    /// What it does.
    pub meaning: String,
    /// What its rows are.
    pub rows: String,
    /// The right that a user needs, as in the users' file.
    pub right: String,
}
