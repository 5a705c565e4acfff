//! What runs the statements: DataFusion itself, as its own suite does, or a session of Tusk.

mod cluster;
mod flight;
mod pipe;

use std::time::Duration;

use async_trait::async_trait;
use clap::ValueEnum;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion_sqllogictest::{DFColumnType, DFOutput, DataFusion, convert_batches, convert_schema_to_types};
use sqllogictest::{AsyncDB, DBOutput};

pub(crate) use cluster::Cluster;
pub(crate) use flight::Flight;
pub(crate) use pipe::{Pipe, PipeSettings};

/// An engine whose answers are tested.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Engine {
    /// The session of the embedded engine.
    Embedded,
    /// Flight SQL: a scheduler and two executors, each a process.
    Cluster,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        }
    }

    /// The name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Embedded => "embedded session",
            Self::Cluster => "Flight SQL",
        }
    }

    /// The share of the compared records that must pass, in thousandths.
    pub(crate) fn bar_permille(self) -> usize {
        match self {
            Self::Embedded => 999,
            Self::Cluster => 995,
        }
    }
}

/// The rows of a statement.
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

/// The error of a statement, as the test files see it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl Refusal {
    /// The error of a session of Tusk. The test files expect DataFusion's own errors, which their runner begins so.
    pub(crate) fn of_tusk(message: &str) -> Self {
        Self(format!("DataFusion error: {message}"))
    }

    /// A statement that took too long.
    pub(crate) fn late(limit: Duration) -> Self {
        Self(format!("no answer within {} s", limit.as_secs()))
    }

    /// An error beside the engine: a process that ended, or a message that cannot be read.
    pub(crate) fn broken(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// A session of Tusk.
#[async_trait]
pub(crate) trait Session: Send {
    /// Runs a statement to its end.
    async fn answer(&mut self, sql: &str) -> Result<Answer, Refusal>;

    /// Ends the session.
    async fn close(&mut self) {}
}

/// What answers the records of one test file.
pub(crate) struct Database {
    answers: Answers,
    /// Part of paths in results that the test files call `WORKSPACE_ROOT`.
    root: String,
}

enum Answers {
    DataFusion(Box<DataFusion>),
    Tusk(Box<dyn Session>),
}

impl Database {
    pub(crate) fn of_datafusion(datafusion: DataFusion, root: String) -> Self {
        Self { answers: Answers::DataFusion(Box::new(datafusion)), root }
    }

    pub(crate) fn of_tusk(session: Box<dyn Session>, root: String) -> Self {
        Self { answers: Answers::Tusk(session), root }
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Refusal;
    type ColumnType = DFColumnType;

    async fn run(&mut self, sql: &str) -> Result<DFOutput, Refusal> {
        let output = match &mut self.answers {
            Answers::DataFusion(datafusion) => (**datafusion).run(sql).await.map_err(|e| Refusal(e.to_string()))?,
            Answers::Tusk(session) => as_the_suite_prints(session.answer(sql).await?)?,
        };
        Ok(match output {
            DBOutput::Rows { types, mut rows } => {
                for cell in rows.iter_mut().flatten().filter(|cell| cell.contains(&self.root)) {
                    *cell = cell.replace(&self.root, "WORKSPACE_ROOT");
                }
                DBOutput::Rows { types, rows }
            }
            other => other,
        })
    }

    async fn shutdown(&mut self) {
        if let Answers::Tusk(session) = &mut self.answers {
            session.close().await;
        }
    }

    /// The test files skip records for other engines by this name.
    fn engine_name(&self) -> &str {
        "DataFusion"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Rows as the suite compares them.
fn as_the_suite_prints(answer: Answer) -> Result<DFOutput, Refusal> {
    let types = convert_schema_to_types(answer.schema.fields());
    let rows = convert_batches(&answer.schema, answer.batches, false).map_err(Refusal::broken)?;
    Ok(if types.is_empty() && rows.is_empty() {
        DBOutput::StatementComplete(0)
    } else {
        DBOutput::Rows { types, rows }
    })
}
