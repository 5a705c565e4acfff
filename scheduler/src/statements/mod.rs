//! The statements about models. Each has a file with its grammar, the right that it needs, its execution and its help.
//!
//! [`STATEMENTS`] lists them. All other statements are those of DataFusion.

mod adapt_model;
mod cancel_training;
mod create_model;
mod describe_model;
mod drop_model;
mod ensemble;
mod evaluate_model;
mod explain_create_model;
mod rows;
mod show_models;
mod show_shortcuts;
mod show_training;
mod show_trials;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::future::BoxFuture;
use tusk_core::Error;
use tusk_core::event::OnEvent;
use tusk_core::protocol::StatementHelp;
use tusk_core::sql::Parser;

use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub use evaluate_model::{EvaluateOptions, Evaluation, evaluate};

/// All statements about models, in the order of the manual.
static STATEMENTS: &[&Verb] = &[
    &create_model::VERB,
    &explain_create_model::VERB,
    &evaluate_model::VERB,
    &adapt_model::VERB,
    &show_models::VERB,
    &describe_model::VERB,
    &show_shortcuts::VERB,
    &show_training::VERB,
    &show_trials::VERB,
    &cancel_training::VERB,
    &drop_model::VERB,
];

/// The definition of a statement.
pub(crate) struct Verb {
    /// Its first words, as the manual and the help write them.
    name: &'static str,
    /// The words by which it is recognised. A text that begins with them is not a statement of DataFusion.
    begins: &'static [&'static str],
    /// Its grammar.
    syntax: &'static str,
    /// A description for the manual and the help.
    meaning: &'static str,
    /// A description of its rows, for the manual.
    rows: &'static str,
    /// The right that a client needs to run it.
    right: Right,
    /// Parses it, from its first word.
    parse: fn(&mut Parser<'_>) -> tusk_core::Result<Box<dyn Execute>>,
}

/// The future that runs a statement, up to its first rows.
///
/// It is boxed without `async_trait`. That macro adds lifetime bounds to each method, with which the compiler checks
/// again, for each method, whether every type in a session is `Send`. This takes seconds per statement.
type Executed<'a> = BoxFuture<'a, Result<Results>>;

/// A parsed statement.
pub(crate) trait Execute: Debug + Send + Sync {
    /// Returns the columns of its rows. Empty if they depend on the model or the options.
    fn schema(&self) -> SchemaRef;

    /// Runs it. `on_event` is called with the events of the run that it starts, if it starts one.
    fn execute<'a>(&'a self, session: &'a Session, on_event: Option<OnEvent>) -> Executed<'a>;
}

/// One statement of a script.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// A statement about models.
    Model(ModelStatement),
    /// A statement of DataFusion.
    DataFusion(Box<DataFusionStatement>),
}

/// A statement about models. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ModelStatement {
    verb: &'static Verb,
    statement: Arc<dyn Execute>,
}

impl Debug for ModelStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.statement.fmt(f)
    }
}

impl ModelStatement {
    /// Returns the columns of its rows. Empty if they depend on the model or the options.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.statement.schema()
    }
}

/// Parses the statements of a script, which are separated by semicolons.
fn parse(sql: &str) -> tusk_core::Result<Vec<Statement>> {
    tusk_core::sql::parse(sql, |parser| {
        let recognised = |verb: &&&Verb| verb.begins.iter().any(|words| parser.begins(words));
        match STATEMENTS.iter().find(recognised) {
            Some(verb) => (verb.parse)(parser)
                .map(|statement| Statement::Model(ModelStatement { verb, statement: statement.into() })),
            None => parser.datafusion().map(|statement| Statement::DataFusion(Box::new(statement))),
        }
    })
}

/// Parses a text that must contain one statement.
pub(crate) fn one_statement(sql: &str) -> tusk_core::Result<Statement> {
    let mut statements = parse(sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (found, _) => Err(Error::Syntax {
            message: format!("expected one statement, found {}", statements.len() + usize::from(found.is_some())),
            line: 1,
            column: 1,
        }),
    }
}

/// Checks that a text is one statement, without running it.
///
/// # Errors
/// [`tusk_core::Error::Syntax`] with line and column.
pub fn check(sql: &str) -> tusk_core::Result<()> {
    one_statement(sql).map(drop)
}

/// Returns the help of the statements about models, for clients.
#[must_use]
pub fn help() -> Vec<StatementHelp> {
    let help = |verb: &&Verb| {
        let [name, syntax, meaning, rows] = [verb.name, verb.syntax, verb.meaning, verb.rows].map(str::to_owned);
        StatementHelp { name, syntax, meaning, rows, right: verb.right.name().to_owned() }
    };
    STATEMENTS.iter().map(help).collect()
}

impl Statement {
    /// Returns the right that a client needs to run it.
    pub(crate) fn right(&self) -> Right {
        match self {
            Self::Model(statement) => statement.verb.right,
            Self::DataFusion(statement) if only_reads(statement) => Right::Query,
            Self::DataFusion(_) => Right::Train,
        }
    }
}

/// Returns whether a statement of DataFusion changes nothing.
fn only_reads(statement: &DataFusionStatement) -> bool {
    match statement {
        DataFusionStatement::Statement(statement) => matches!(
            statement.as_ref(),
            SqlStatement::Query(_)
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
                | SqlStatement::ShowVariable { .. }
                | SqlStatement::ShowFunctions { .. }
                | SqlStatement::ExplainTable { .. }
        ),
        DataFusionStatement::Explain(explain) => only_reads(&explain.statement),
        _ => false,
    }
}

impl Session {
    /// Runs one statement.
    ///
    /// # Errors
    /// Returns an error if the text is not one statement (a syntax error has line and column), or the statement cannot
    /// be planned or started.
    pub async fn sql(&self, sql: &str) -> Result<Results> {
        self.execute(one_statement(sql)?, self.on_event().cloned()).await
    }

    /// Runs a parsed statement. `on_event` is called with the events of the run that it starts, if it starts one.
    ///
    /// # Errors
    /// Returns an error if it cannot be planned or started.
    pub(crate) async fn execute(&self, statement: Statement, on_event: Option<OnEvent>) -> Result<Results> {
        match statement {
            Statement::Model(statement) => statement.statement.execute(self, on_event).await,
            Statement::DataFusion(statement) => {
                let plan = self.local().state().statement_to_plan(*statement).await?;
                self.execute_plan(plan).await
            }
        }
    }
}
