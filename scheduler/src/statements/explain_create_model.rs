//! EXPLAIN CREATE MODEL: shows the plan of an epoch.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::event::OnEvent;
use tusk_core::manifest::strong_shortcuts;

use super::create_model::{CreateModel, no_epochs};
use super::rows::{batch, schema_of};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "EXPLAIN CREATE MODEL",
    begins: &["EXPLAIN CREATE MODEL", "EXPLAIN CREATE OR REPLACE MODEL"],
    syntax: "EXPLAIN CREATE MODEL ...",
    meaning: "Shows the plan that a worker would run for an epoch, and names the strongest shortcuts of \
              the training table. Nothing is trained.",
    rows: "One row per line of the plan.",
    right: Right::Query,
    parse: |parser| {
        parser.words("EXPLAIN")?;
        Ok(Box::new(ExplainCreateModel(CreateModel::parse(parser)?)))
    },
};

#[derive(Debug)]
struct ExplainCreateModel(CreateModel);

fn lines(plan: &str) -> Result<RecordBatch> {
    let lines: ArrayRef = Arc::new(plan.lines().map(Some).collect::<StringArray>());
    batch([("plan", lines)])
}

impl Execute for ExplainCreateModel {
    fn schema(&self) -> SchemaRef {
        schema_of(lines(""))
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let Some(training) = self.0.training(session).await? else { return Ok(no_epochs()) };
            let request = training.request(session).await?;
            let mut plan = session.training()?.explain(&request)?;
            if let Some(strong) = request.shortcuts.as_deref().and_then(strong_shortcuts) {
                plan = format!("{}\nshortcuts: {strong}", plan.trim_end());
            }
            Ok(Results::of_batch(lines(&plan)?))
        })
    }
}
