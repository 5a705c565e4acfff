//! CREATE MODEL: trains a model in a run, or combines trained models into an ensemble.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::Error;
use tusk_core::event::{OnEvent, RunEvent};
use tusk_core::ids::ModelName;
use tusk_core::nets;
use tusk_core::options::{Architecture, ModelSpec, OptionValue, architecture, parse as parse_options};
use tusk_core::protocol::epoch_schema;
use tusk_core::sql::{Parser, Source};

use super::{Execute, Executed, Verb, ensemble};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::{Rows, Session, Training};

pub(super) const VERB: Verb = Verb {
    name: "CREATE MODEL",
    begins: &["CREATE MODEL", "CREATE OR REPLACE MODEL"],
    syntax: "CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name [USING architecture] [OPTIONS (key = value, ...)]
    TRAIN ON { table | (query) } [VALIDATE ON { table | (query) }]
CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name USING ensemble OPTIONS (members = 'a, b, ...')
    [VALIDATE ON { table | (query) }]",
    meaning: "Trains a model and publishes it, or combines models into an ensemble. docs/models.md lists the \
              architectures, docs/options.md the options. To search for the value of an \
              option, set it to `range(low, high)` or `candidates(a, b, ...)`.",
    rows: "One row per epoch, as it ends. An ensemble has none.",
    right: Right::Train,
    parse: |parser| Ok(Box::new(CreateModel::parse(parser)?)),
};

/// A CREATE MODEL statement.
#[derive(Clone, Debug)]
pub(super) struct CreateModel {
    /// Whether to replace a model of this name.
    or_replace: bool,
    /// Whether to do nothing if a model of this name exists.
    if_not_exists: bool,
    name: ModelName,
    /// The architecture as written in the statement.
    architecture: Option<String>,
    /// The options as written in the statement.
    options: Vec<(String, OptionValue)>,
    /// The training rows. Only an ensemble has none.
    train_on: Option<Source>,
    /// The validation rows. If `None`, they are a fraction of the training rows.
    validate_on: Option<Source>,
}

impl CreateModel {
    pub(super) fn parse(parser: &mut Parser<'_>) -> tusk_core::Result<Self> {
        parser.words("CREATE")?;
        let or_replace = parser.optional("OR REPLACE")?;
        parser.words("MODEL")?;
        let if_not_exists = parser.optional("IF NOT EXISTS")?;
        let name = parser.model_name()?;
        let architecture = if parser.optional("USING")? { Some(parser.name("an architecture")?) } else { None };
        let options = parser.options()?;
        // The members of an ensemble are already trained.
        let is_ensemble = architecture.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("ensemble"));
        if !is_ensemble && !parser.begins("TRAIN") {
            return Err(parser.expected(match (&architecture, options.is_empty()) {
                (None, true) => "USING, OPTIONS or TRAIN ON",
                (Some(_), true) => "OPTIONS or TRAIN ON",
                _ => "TRAIN ON",
            }));
        }
        let train_on = if parser.optional("TRAIN ON")? { Some(parser.source()?) } else { None };
        let validate_on = if parser.optional("VALIDATE ON")? { Some(parser.source()?) } else { None };
        Ok(Self { or_replace, if_not_exists, name, architecture, options, train_on, validate_on })
    }

    fn net(&self) -> Result<Architecture> {
        Ok(self.architecture.as_deref().map_or(Ok(Architecture::Net(nets::DEFAULT)), architecture)?)
    }

    async fn is_there(&self, session: &Session) -> Result<bool> {
        let store = session.training()?.store();
        Ok(self.if_not_exists && store.find_manifest(&self.name).await?.is_some())
    }

    /// Returns the training run that the statement requests, or `None` if IF NOT EXISTS finds a model.
    pub(super) async fn training(&self, session: &Session) -> Result<Option<Training>> {
        let net = self.net()?;
        let (spec, resume) = parse_options(net, &self.options)?;
        if self.is_there(session).await? {
            return Ok(None);
        }
        let (train, validate) = (rows_of(session, &self.train_on).await?, rows_of(session, &self.validate_on).await?);
        match train {
            Some(train) if net != Architecture::Ensemble => {
                let name = self.name.clone();
                Ok(Some(Training { name, spec, train, validate, or_replace: self.or_replace, resume }))
            }
            _ => {
                let message = "an ensemble is not trained: it takes VALIDATE ON for its threshold, but neither TRAIN ON \
                               nor EXPLAIN";
                Err(Error::ConflictingOptions { message: message.to_owned() }.into())
            }
        }
    }

    /// Returns the options and the VALIDATE ON rows of an ensemble, or `None` if IF NOT EXISTS finds a model.
    async fn ensemble(&self, session: &Session) -> Result<Option<(ModelSpec, Option<Rows>)>> {
        let (spec, _) = parse_options(Architecture::Ensemble, &self.options)?;
        if self.is_there(session).await? {
            return Ok(None);
        }
        Ok(Some((spec, rows_of(session, &self.validate_on).await?)))
    }
}

async fn rows_of(session: &Session, source: &Option<Source>) -> Result<Option<Rows>> {
    match source {
        Some(source) => Rows::of_source(session, source).await.map(Some),
        None => Ok(None),
    }
}

/// Returns no rows, with the columns of epochs.
pub(super) fn no_epochs() -> Results {
    Results::of_batch(RecordBatch::new_empty(epoch_schema()))
}

impl Execute for CreateModel {
    fn schema(&self) -> SchemaRef {
        epoch_schema()
    }

    fn execute<'a>(&'a self, session: &'a Session, on_event: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            if self.net()? == Architecture::Ensemble && self.train_on.is_none() {
                let Some((spec, validate)) = self.ensemble(session).await? else { return Ok(no_epochs()) };
                let manifest = ensemble::create(session, &self.name, self.or_replace, spec, validate).await?;
                if let Some(on_event) = on_event {
                    on_event(&RunEvent::Finished(Box::new(manifest)));
                }
                return Ok(no_epochs());
            }
            let Some(training) = self.training(session).await? else { return Ok(no_epochs()) };
            session.training()?.start_watched(training.request(session).await?, on_event).await
        })
    }
}
