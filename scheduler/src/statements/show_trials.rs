//! SHOW TRIALS: lists the trials of a search or the folds of a cross-validation.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{ChildRun, RunRecord};

use super::rows::batch;
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "SHOW TRIALS",
    begins: &["SHOW TRIALS"],
    syntax: "SHOW TRIALS name",
    meaning: "Lists the trials of a search, or the folds of a cross-validation, of a model's last run.",
    rows: "One row per trial or fold: its status, options, epochs, objective and seconds.",
    right: Right::Query,
    parse: |parser| {
        parser.words("SHOW TRIALS")?;
        Ok(Box::new(ShowTrials { name: parser.model_name()? }))
    },
};

#[derive(Debug)]
struct ShowTrials {
    name: ModelName,
}

impl Execute for ShowTrials {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let record = session.training()?.training(&self.name).await?;
            Ok(Results::of_batch(trials(&record)?))
        })
    }
}

/// Returns one row per trial or fold.
fn trials(record: &RunRecord) -> Result<RecordBatch> {
    let children = &record.children;
    let text = |value: fn(&ChildRun) -> Option<String>| -> ArrayRef {
        Arc::new(children.iter().map(value).collect::<StringArray>())
    };
    let objective = record.definition.spec.search.objective;
    batch([
        ("trial", text(|child| Some(child.name.clone()))),
        ("status", text(|child| Some(child.status.word().to_owned()))),
        ("options", text(|child| Some(options(child)))),
        ("epochs", Arc::new(children.iter().map(|child| Some(child.epochs)).collect::<UInt32Array>())),
        (objective.name(), Arc::new(children.iter().map(|child| child.objective).collect::<Float64Array>())),
        ("seconds", Arc::new(children.iter().map(|child| Some(child.seconds)).collect::<Float64Array>())),
        ("error", text(|child| child.error.clone())),
    ])
}

fn options(child: &ChildRun) -> String {
    child.options.iter().map(|(option, value)| format!("{option} = {value}")).collect::<Vec<_>>().join(", ")
}
