//! CANCEL TRAINING: stops a run.

use datafusion::arrow::datatypes::SchemaRef;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;

use super::rows::{schema_of, status};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::Results;
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "CANCEL TRAINING",
    begins: &["CANCEL"],
    syntax: "CANCEL TRAINING name",
    meaning: "Stops a run and cancels its current job. Its checkpoints are kept; the option `resume` continues from them.",
    rows: "One row, when the run has stopped.",
    right: Right::Train,
    parse: |parser| {
        parser.words("CANCEL TRAINING")?;
        Ok(Box::new(CancelTraining { name: parser.model_name()? }))
    },
};

#[derive(Debug)]
struct CancelTraining {
    name: ModelName,
}

impl Execute for CancelTraining {
    fn schema(&self) -> SchemaRef {
        schema_of(status(""))
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            session.training()?.cancel(&self.name).await?;
            Ok(Results::of_batch(status(&format!("training of '{}' is cancelled", self.name))?))
        })
    }
}
