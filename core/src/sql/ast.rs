//! The syntax tree of the statements. Its `Display` is SQL that parses back to the same tree.

use std::fmt;

use datafusion::sql::sqlparser::ast::{ObjectName, Query};

use crate::ids::ModelName;
use crate::options::OptionValue;

/// The rows of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A table or view.
    Table(ObjectName),
    /// A query.
    Query(Box<Query>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "{name}"),
            Self::Query(query) => write!(f, "({query})"),
        }
    }
}

/// `CREATE MODEL`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateModel {
    /// Whether a model of this name is replaced.
    pub or_replace: bool,
    /// Whether a model of this name is left alone.
    pub if_not_exists: bool,
    /// The model.
    pub name: ModelName,
    /// The net, as written.
    pub architecture: Option<String>,
    /// The options, as written.
    pub options: Vec<(String, OptionValue)>,
    /// The rows to learn from; only an ensemble has none.
    pub train_on: Option<Source>,
    /// The rows to validate on, instead of a share of the training rows.
    pub validate_on: Option<Source>,
}

/// `EVALUATE MODEL`.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateModel {
    /// The model.
    pub name: ModelName,
    /// The rows.
    pub on: Source,
    /// The options, as written.
    pub options: Vec<(String, OptionValue)>,
}

/// One statement about models.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelStatement {
    /// `CREATE MODEL`, or its plan only (`EXPLAIN`).
    Create {
        /// Whether only the plan is wanted.
        explain: bool,
        /// The statement.
        create: CreateModel,
    },
    /// `EVALUATE MODEL`.
    Evaluate(EvaluateModel),
    /// `SHOW MODELS`.
    ShowModels,
    /// `DESCRIBE MODEL name [CARD]`.
    Describe {
        /// The model.
        name: ModelName,
        /// Whether its card is wanted instead of its properties.
        card: bool,
    },
    /// `SHOW TRAINING name`.
    ShowTraining(ModelName),
    /// `SHOW TRIALS name`.
    ShowTrials(ModelName),
    /// `CANCEL TRAINING name`.
    CancelTraining(ModelName),
    /// `DROP MODEL`.
    Drop {
        /// Whether a missing model is no error.
        if_exists: bool,
        /// The model.
        name: ModelName,
    },
}

/// A name as SQL: in quotes unless it is a plain word. `if` could be the start of IF EXISTS.
fn quoted(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(i, c)| c == '_' || c.is_ascii_lowercase() || (i > 0 && c.is_ascii_digit()));
    if plain && !name.is_empty() && name != "if" { name.to_owned() } else { in_quotes(name) }
}

/// A name in quotes. sqlparser's own takes two quotes in a name for one that is escaped already.
fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn write_options(f: &mut fmt::Formatter<'_>, options: &[(String, OptionValue)]) -> fmt::Result {
    if options.is_empty() {
        return Ok(());
    }
    f.write_str(" OPTIONS (")?;
    for (position, (key, value)) in options.iter().enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        // Always in quotes: `group` is a reserved word.
        write!(f, "{comma}{} = {value}", in_quotes(key))?;
    }
    f.write_str(")")
}

impl fmt::Display for CreateModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replace = if self.or_replace { "OR REPLACE " } else { "" };
        let exists = if self.if_not_exists { "IF NOT EXISTS " } else { "" };
        write!(f, "CREATE {replace}MODEL {exists}{}", quoted(self.name.as_str()))?;
        if let Some(architecture) = &self.architecture {
            write!(f, " USING {}", quoted(architecture))?;
        }
        write_options(f, &self.options)?;
        if let Some(source) = &self.train_on {
            write!(f, " TRAIN ON {source}")?;
        }
        if let Some(source) = &self.validate_on {
            write!(f, " VALIDATE ON {source}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ModelStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { explain, create } => write!(f, "{}{create}", if *explain { "EXPLAIN " } else { "" }),
            Self::Evaluate(evaluate) => {
                write!(f, "EVALUATE MODEL {} ON {}", quoted(evaluate.name.as_str()), evaluate.on)?;
                write_options(f, &evaluate.options)
            }
            Self::ShowModels => f.write_str("SHOW MODELS"),
            Self::Describe { name, card } => {
                write!(f, "DESCRIBE MODEL {}{}", quoted(name.as_str()), if *card { " CARD" } else { "" })
            }
            Self::ShowTraining(name) => write!(f, "SHOW TRAINING {}", quoted(name.as_str())),
            Self::ShowTrials(name) => write!(f, "SHOW TRIALS {}", quoted(name.as_str())),
            Self::CancelTraining(name) => write!(f, "CANCEL TRAINING {}", quoted(name.as_str())),
            Self::Drop { if_exists, name } => {
                write!(f, "DROP MODEL {}{}", if *if_exists { "IF EXISTS " } else { "" }, quoted(name.as_str()))
            }
        }
    }
}
