//! The statements about models, each to its rows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tokio::sync::broadcast::error::RecvError;
use tusk_core::event::{OnEvent, RunEvent};
use tusk_core::ids::ModelName;
use tusk_core::manifest::EpochReport;
use tusk_core::nets;
use tusk_core::options::{Architecture, ModelSpec, architecture, parse as parse_options};
use tusk_core::protocol::{TrainingRequest, epoch_schema};
use tusk_core::results::RunBehind;
use tusk_core::sql::{CreateModel, ModelStatement, Source};

use super::Session;
use super::card;
use super::ensemble;
use super::evaluate::{self, EvaluateOptions};
use super::report;
use super::source::Rows;
use crate::error::{Error, Result, Results};
use crate::service::RunHandle;
use crate::study::drop_parts;

/// Runs a statement about models.
pub(super) async fn execute(
    context: &Session,
    statement: ModelStatement,
    on_event: Option<OnEvent>,
) -> Result<Results> {
    match statement {
        ModelStatement::Create { explain, create } => Box::pin(create_model(context, create, explain, on_event)).await,
        ModelStatement::Evaluate(statement) => {
            let rows = Rows::of_source(context, &statement.on).await?;
            let options = EvaluateOptions::parse(&statement.options)?;
            let manifest = context.training()?.store().manifest(&statement.name).await?;
            Ok(Results::of_batch(evaluate::answer(context, &manifest, &rows, &options).await?))
        }
        ModelStatement::ShowModels => {
            Ok(Results::of_batch(report::models(&context.training()?.store().manifests().await?)?))
        }
        ModelStatement::Describe { name, card } => {
            let manifest = context.training()?.store().manifest(&name).await?;
            Ok(Results::of_batch(if card {
                text("card", &card::card(&manifest))?
            } else {
                report::description(&manifest)?
            }))
        }
        ModelStatement::ShowTraining(name) => {
            let record = context.training()?.training(&name).await?;
            Ok(Results::of_batch(report::training(&record, context.training()?.is_active(&name))?))
        }
        ModelStatement::ShowTrials(name) => {
            let record = context.training()?.training(&name).await?;
            Ok(Results::of_batch(report::trials(&record)?))
        }
        ModelStatement::CancelTraining(name) => {
            context.training()?.cancel(&name).await?;
            Ok(Results::of_batch(status(&format!("training of '{name}' is cancelled"))?))
        }
        ModelStatement::Drop { if_exists, name } => drop_model(context, &name, if_exists).await,
    }
}

async fn create_model(
    context: &Session,
    create: CreateModel,
    explain: bool,
    on_event: Option<OnEvent>,
) -> Result<Results> {
    let net = create.architecture.as_deref().map_or(Ok(Architecture::Net(nets::DEFAULT)), architecture)?;
    let (spec, resume) = parse_options(net, &create.options)?;
    if create.if_not_exists && context.training()?.store().find_manifest(&create.name).await?.is_some() {
        return Ok(Results::of_batch(RecordBatch::new_empty(epoch_schema())));
    }
    let rows_of = async |source: &Option<Source>| match source {
        Some(source) => Rows::of_source(context, source).await.map(Some),
        None => Ok(None),
    };
    let (train, validate) = (rows_of(&create.train_on).await?, rows_of(&create.validate_on).await?);
    let train = match (train, net) {
        (None, Architecture::Ensemble) if !explain => {
            let manifest = ensemble::create(context, &create, spec, validate).await?;
            if let Some(on_event) = on_event {
                on_event(&RunEvent::Finished(Box::new(manifest)));
            }
            return Ok(Results::of_batch(RecordBatch::new_empty(epoch_schema())));
        }
        (Some(train), net) if net != Architecture::Ensemble => train,
        _ => {
            let message = "an ensemble learns nothing: it takes VALIDATE ON for its threshold, and neither TRAIN ON nor \
                           EXPLAIN";
            return Err(tusk_core::Error::ConflictingOptions { message: message.to_owned() }.into());
        }
    };
    let request = Training { name: create.name, spec, train, validate, or_replace: create.or_replace, resume };
    if explain {
        let plan = context.training()?.explain(&request.request(context).await?)?;
        let lines: ArrayRef = Arc::new(plan.lines().map(Some).collect::<StringArray>());
        return Ok(Results::of_batch(RecordBatch::try_from_iter([("plan", lines)]).map_err(DataFusionError::from)?));
    }
    context.training()?.start_watched(request.request(context).await?, on_event).await
}

/// A training that is about to start.
#[derive(Debug)]
pub struct Training {
    /// The model.
    pub name: ModelName,
    /// What it is to be.
    pub spec: ModelSpec,
    /// The rows to learn from.
    pub train: Rows,
    /// The rows to validate on, if they are not a share of the training rows.
    pub validate: Option<Rows>,
    /// Whether a model of this name may be replaced.
    pub or_replace: bool,
    /// Whether to go on from the last checkpoint.
    pub resume: bool,
}

impl Training {
    /// The request for the training service.
    ///
    /// # Errors
    /// When the name is one of a part of a run, a column is missing, or the rows cannot be planned.
    pub async fn request(&self, context: &Session) -> Result<TrainingRequest> {
        self.name.refuse_part()?;
        let mut spec = self.spec.clone();
        let validate = match &self.validate {
            Some(rows) => {
                // These take the place of a share of the training rows, as in Keras.
                spec.split.validation_fraction = 0.0;
                Some(rows.training_plan(context, &spec).await?)
            }
            None => None,
        };
        Ok(TrainingRequest {
            name: self.name.clone(),
            train: self.train.training_plan(context, &spec).await?,
            spec,
            validate,
            train_name: self.train.name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
        })
    }
}

/// Epochs that somebody has seen: the model's name in their rows, and their number.
pub(crate) type Seen = HashSet<(String, u32)>;

/// The epochs of a run that were not seen yet as rows, as they finish; then the run's error, if it ends with one.
pub(crate) fn epoch_rows(model: ModelName, mut run: RunHandle, on_event: Option<OnEvent>, seen: Seen) -> Results {
    let behind = RunBehind { model: model.clone(), cancel: run.cancellation() };
    let past: VecDeque<EpochReport> = std::mem::take(&mut run.past).into();
    let rows = stream::try_unfold((Some(run), past, seen), move |(run, mut past, mut seen)| {
        let (model, on_event) = (model.clone(), on_event.clone());
        async move {
            let Some(mut run) = run else { return Ok(None) };
            loop {
                let event = match past.pop_front() {
                    Some(epoch) => Ok(RunEvent::Epoch(epoch)),
                    None => run.events.recv().await,
                };
                match event {
                    // One that was in the record already.
                    Ok(RunEvent::Epoch(epoch))
                        if seen.contains(&(report::name_in_row(&model, &epoch), epoch.epoch)) => {}
                    Ok(event) => {
                        if let Some(on_event) = &on_event {
                            on_event(&event);
                        }
                        if let RunEvent::Epoch(epoch) = event {
                            seen.insert((report::name_in_row(&model, &epoch), epoch.epoch));
                            return Ok(Some((report::epoch(&model, &epoch)?, (Some(run), past, seen))));
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
    Results::of_run(Box::pin(RecordBatchStreamAdapter::new(epoch_schema(), rows)), behind)
}

async fn drop_model(context: &Session, name: &ModelName, if_exists: bool) -> Result<Results> {
    if context.training()?.is_active(name) {
        return Err(Error::AlreadyTraining { model: name.to_string() });
    }
    if !if_exists {
        // Says which names there are.
        context.training()?.store().manifest(name).await?;
    }
    let store = context.training()?.store();
    // A record that cannot be read names no parts.
    if let Ok(Some(record)) = store.run(name).await {
        drop_parts(store, &record).await?;
    }
    let existed = store.drop_model(name).await?;
    let message = if existed { format!("model '{name}' is dropped") } else { format!("there was no model '{name}'") };
    Ok(Results::of_batch(status(&message)?))
}

fn status(message: &str) -> Result<RecordBatch> {
    text("status", message)
}

/// One row of one column.
fn text(column: &str, text: &str) -> Result<RecordBatch> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Ok(RecordBatch::try_from_iter([(column, array)]).map_err(DataFusionError::from)?)
}

/// The columns of a statement's rows. Those of figures that depend on the model or the rows are given where they are
/// the same for all.
pub(crate) fn model_schema(statement: &ModelStatement) -> SchemaRef {
    let empty = |batch: Result<RecordBatch>| batch.map_or_else(|_| Arc::new(Schema::empty()), |b| b.schema());
    match statement {
        ModelStatement::Create { explain: false, .. } => epoch_schema(),
        ModelStatement::Create { explain: true, .. } => {
            Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, true)]))
        }
        ModelStatement::ShowModels => empty(report::models(&[])),
        ModelStatement::Describe { .. }
        | ModelStatement::ShowTraining(_)
        | ModelStatement::ShowTrials(_)
        | ModelStatement::Evaluate(_) => Arc::new(Schema::empty()),
        ModelStatement::CancelTraining(_) | ModelStatement::Drop { .. } => empty(status("")),
    }
}
