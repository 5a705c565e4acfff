//! The statements about models, each to its rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tokio::sync::broadcast::error::RecvError;
use tusk_core::event::RunEvent;
use tusk_core::ids::ModelName;
use tusk_core::spec::{Architecture, ModelSpec, OptionValue, architecture, parse as parse_options};
use tusk_core::sql::{CreateModel, ModelStatement, Source};
use tusk_scheduler::{RunHandle, TrainingRequest};

use crate::context::{OnEvent, TuskContext};
use crate::error::Result;
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::report;
use crate::results::Results;
use crate::source::Rows;

/// Runs a statement about models.
pub(crate) async fn execute(context: &TuskContext, statement: ModelStatement) -> Result<Results> {
    match statement {
        ModelStatement::Create { explain, create } => create_model(context, create, explain).await,
        ModelStatement::Evaluate(statement) => {
            let rows = Rows::of_query(context, &statement.on.to_query(), name_of(&statement.on)).await?;
            let options = EvaluateOptions::parse(&statement.options)?;
            let evaluation = evaluate(context, &statement.name, &rows, &options).await?;
            Ok(Results::of_batch(report::evaluation(&evaluation)?))
        }
        ModelStatement::ShowModels => Ok(Results::of_batch(report::models(&context.store().manifests().await?)?)),
        ModelStatement::Describe(name) => {
            Ok(Results::of_batch(report::description(&context.store().manifest(&name).await?)?))
        }
        ModelStatement::ShowTraining(name) => {
            let record = context.training().training(&name).await?;
            Ok(Results::of_batch(report::training(&record, context.training().is_active(&name))?))
        }
        ModelStatement::CancelTraining(name) => {
            context.training().cancel(&name).await?;
            Ok(Results::of_batch(status(&format!("training of '{name}' is cancelled"))?))
        }
        ModelStatement::Drop { if_exists, name } => drop_model(context, &name, if_exists).await,
    }
}

/// How errors call the rows of a statement.
fn name_of(source: &Source) -> String {
    match source {
        Source::Table(name) => name.to_string(),
        Source::Query(_) => "the query".to_owned(),
    }
}

async fn create_model(context: &TuskContext, create: CreateModel, explain: bool) -> Result<Results> {
    let net = create.architecture.as_deref().map_or(Ok(Architecture::Cnn), architecture)?;
    let (spec, resume) = parse_options(net, &create.options)?;
    if create.if_not_exists && context.store().find_manifest(&create.name).await?.is_some() {
        return Ok(Results::of_batch(RecordBatch::new_empty(report::epoch_schema())));
    }
    let train = Rows::of_query(context, &create.train_on.to_query(), name_of(&create.train_on)).await?;
    let validate = match &create.validate_on {
        Some(source) => Some(Rows::of_query(context, &source.to_query(), name_of(source)).await?),
        None => None,
    };
    let request = Training { name: create.name, spec, train, validate, or_replace: create.or_replace, resume };
    if explain {
        let plan = context.training().explain(&request.request(context).await?)?;
        let lines: ArrayRef = Arc::new(plan.lines().map(Some).collect::<StringArray>());
        return Ok(Results::of_batch(RecordBatch::try_from_iter([("plan", lines)]).map_err(DataFusionError::from)?));
    }
    let name = request.name.clone();
    Ok(epoch_rows(name, request.start(context).await?, context.on_event().cloned()))
}

/// A training that is about to start.
pub(crate) struct Training {
    pub(crate) name: ModelName,
    pub(crate) spec: ModelSpec,
    pub(crate) train: Rows,
    pub(crate) validate: Option<Rows>,
    pub(crate) or_replace: bool,
    pub(crate) resume: bool,
}

impl Training {
    async fn request(&self, context: &TuskContext) -> Result<TrainingRequest> {
        let validate = match &self.validate {
            Some(rows) => Some(rows.training_plan(context, &self.spec).await?),
            None => None,
        };
        Ok(TrainingRequest {
            name: self.name.clone(),
            spec: self.spec.clone(),
            train: self.train.training_plan(context, &self.spec).await?,
            validate,
            train_name: self.train.name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
        })
    }

    /// Starts it.
    pub(crate) async fn start(&self, context: &TuskContext) -> Result<RunHandle> {
        Ok(context.training().start(self.request(context).await?).await?)
    }
}

/// The epochs of a run as rows, as they finish; then the run's error, if it ends with one.
fn epoch_rows(model: ModelName, run: RunHandle, on_event: Option<OnEvent>) -> Results {
    let cancel = run.cancellation();
    let rows = stream::try_unfold(Some(run), move |run| {
        let (model, on_event) = (model.clone(), on_event.clone());
        async move {
            let Some(mut run) = run else { return Ok(None) };
            loop {
                match run.events.recv().await {
                    Ok(event) => {
                        if let Some(on_event) = &on_event {
                            on_event(&event);
                        }
                        if let RunEvent::Epoch(epoch) = event {
                            return Ok(Some((report::epoch(&model, &epoch)?, Some(run))));
                        }
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events of the run were missed"),
                    Err(RecvError::Closed) => {
                        run.finish().await.map_err(DataFusionError::from)?;
                        return Ok(None);
                    }
                }
            }
        }
    });
    Results::of_run(Box::pin(RecordBatchStreamAdapter::new(report::epoch_schema(), rows)), cancel)
}

async fn drop_model(context: &TuskContext, name: &ModelName, if_exists: bool) -> Result<Results> {
    if context.training().is_active(name) {
        return Err(tusk_scheduler::Error::AlreadyTraining { model: name.to_string() }.into());
    }
    if !if_exists {
        // Says which names there are.
        context.store().manifest(name).await?;
    }
    let existed = context.store().drop_model(name).await?;
    let message = if existed { format!("model '{name}' is dropped") } else { format!("there was no model '{name}'") };
    Ok(Results::of_batch(status(&message)?))
}

fn status(message: &str) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![message]));
    Ok(RecordBatch::try_from_iter([("status", column)]).map_err(DataFusionError::from)?)
}

/// The value of an option, for callers that build statements.
pub(crate) type Options = Vec<(String, OptionValue)>;
