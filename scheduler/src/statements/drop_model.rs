//! DROP MODEL: removes a model and its last run.

use datafusion::arrow::datatypes::SchemaRef;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;

use super::rows::{schema_of, status};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Error, Results};
use crate::run::children::drop_children;
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "DROP MODEL",
    begins: &["DROP MODEL"],
    syntax: "DROP MODEL [IF EXISTS] name",
    meaning: "Removes a model, its checkpoints and the record of its run.",
    rows: "One row.",
    right: Right::Train,
    parse: |parser| {
        parser.words("DROP MODEL")?;
        let if_exists = parser.optional("IF EXISTS")?;
        Ok(Box::new(DropModel { if_exists, name: parser.model_name()? }))
    },
};

#[derive(Debug)]
struct DropModel {
    /// Whether it is not an error if the model does not exist.
    if_exists: bool,
    name: ModelName,
}

impl Execute for DropModel {
    fn schema(&self) -> SchemaRef {
        schema_of(status(""))
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let (service, name) = (session.training()?, &self.name);
            if service.is_active(name) {
                return Err(Error::AlreadyTraining { model: name.to_string() });
            }
            let store = service.store();
            if !self.if_exists {
                // Returns an error, with the nearest name, if the model does not exist.
                store.manifest(name).await?;
            }
            // If the record cannot be read, its child runs are not known and stay.
            if let Ok(Some(record)) = store.run(name).await {
                drop_children(store, &record).await?;
            }
            let existed = store.drop_model(name).await?;
            let message =
                if existed { format!("model '{name}' is dropped") } else { format!("there was no model '{name}'") };
            Ok(Results::of_batch(status(&message)?))
        })
    }
}
