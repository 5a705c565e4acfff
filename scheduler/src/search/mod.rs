//! Runs that consist of child runs: the folds of a cross-validation, or the trials of a search.
//!
//! Each child is an ordinary run with its own name, such as `pneumonia.fold-1`. It has checkpoints, is retried and is
//! resumed like every other run. A resumed search or cross-validation resumes each of its child runs.

mod cross_validation;
mod trials;

use std::sync::Arc;

use tokio::sync::Mutex;
use tusk_core::event::RunEvent;
use tusk_core::ids::RunId;
use tusk_core::manifest::{ChildRun, ChildStatus, EpochReport, Manifest, RunRecord, RunStatus};
use tusk_core::options::ModelSpec;
use tusk_core::protocol::TrainingRequest;

use crate::error::{Error, Result};
use crate::run::children::drop_children;
use crate::run::{Run, RunContext, begun};

/// A run that consists of child runs. All clones refer to the same run.
#[derive(Clone, Debug)]
pub(crate) struct CompositeRun {
    context: RunContext,
    request: TrainingRequest,
    run: RunId,
    /// Written to the store after every change.
    record: Arc<Mutex<RunRecord>>,
}

impl CompositeRun {
    /// Begins a search or cross-validation, or resumes the previous one if the request says so.
    pub(crate) async fn begin(context: RunContext, request: TrainingRequest, run: RunId) -> Result<Self> {
        if request.validate.is_some() && request.spec.split.folds.is_some() {
            let message = "folds use rows of the training table for validation; leave VALIDATE ON out".to_owned();
            return Err(tusk_core::Error::ConflictingOptions { message }.into());
        }
        if request.spec.split.folds.is_none() && request.validate.is_none() && !request.spec.holds_out() {
            let message = "a search compares trials on validation rows, but there are none: give a table to VALIDATE \
                           ON, or a validation_fraction above 0"
                .to_owned();
            return Err(tusk_core::Error::ConflictingOptions { message }.into());
        }
        let before = context.store.run(&request.name).await?;
        let previous = before.clone().filter(|record| request.resume && record.status != RunStatus::Finished);
        if let Some(record) = &previous
            && record.definition.spec != request.spec
        {
            let reason = "its options are different".to_owned();
            return Err(Error::CannotResume { record: Box::new(record.clone()), reason });
        }
        let record = match previous {
            Some(previous) => RunRecord { status: RunStatus::Running, error: None, ..previous },
            None => {
                if let Some(before) = &before {
                    drop_children(&context.store, before).await?;
                }
                let bytes = request.encode(context.jobs.codec().as_ref())?;
                context.store.write_request(&request.name, bytes).await?;
                RunRecord { children: children(&request.spec), ..begun(&context, &request, run) }
            }
        };
        context.store.write_run(&record).await?;
        drop(context.events.send(RunEvent::Started {
            run: record.run.clone(),
            model: request.name.clone(),
            epochs: request.spec.training.epochs,
            resumed_from: record.children.iter().map(|child| child.epochs).sum(),
        }));
        let run = record.run.clone();
        Ok(Self { context, request, run, record: Arc::new(Mutex::new(record)) })
    }

    /// The run's id. A resumed run keeps its id.
    pub(crate) fn id(&self) -> &RunId {
        &self.run
    }

    /// Trains the child runs and publishes the model.
    pub(crate) async fn train(&self) -> Result<Manifest> {
        let trained = match self.request.spec.split.folds {
            Some(_) => Box::pin(self.train_folds()).await,
            None => Box::pin(self.search()).await,
        };
        let manifest = match trained {
            Err(Error::Cancelled { .. }) => {
                let model = self.request.name.to_string();
                return Err(Error::Cancelled { model, epochs: self.epochs().await?.len() });
            }
            other => other?,
        };
        let epochs = self.epochs().await?;
        let mut record = self.record.lock().await;
        record.status = RunStatus::Finished;
        record.definition = manifest.definition.clone();
        // The record keeps the search options. The model of a search is one of the trials, which have none.
        record.definition.spec.search = self.request.spec.search.clone();
        record.data = manifest.data.clone();
        record.epochs = epochs;
        self.context.store.write_run(&record).await?;
        // The checkpoints of the child runs are no longer needed. An error does not matter: the model is published.
        if let Err(error) = drop_children(&self.context.store, &record).await {
            tracing::warn!(model = %record.model, %error, "the child runs could not be removed");
        }
        drop(self.context.events.send(RunEvent::Finished(Box::new(manifest.clone()))));
        Ok(manifest)
    }

    /// Records why the run ended before its model was published.
    pub(crate) async fn give_up(&self, error: &Error) {
        let mut record = self.record.lock().await;
        record.status = if matches!(error, Error::Cancelled { .. }) { RunStatus::Cancelled } else { RunStatus::Failed };
        record.error = Some(error.to_string());
        if let Err(error) = self.context.store.write_run(&record).await {
            tracing::warn!(model = %record.model, %error, "the end of the run could not be recorded");
        }
    }

    /// Returns the epochs of all child runs, in the order of the child runs.
    async fn epochs(&self) -> Result<Vec<EpochReport>> {
        let mut epochs = Vec::new();
        for child in self.children().await {
            let record = self.context.store.run(&self.request.name.child(&child.name)?).await?;
            epochs.extend(record.into_iter().flat_map(|record| record.epochs));
        }
        Ok(epochs)
    }

    /// Begins or resumes a child run.
    async fn child(&self, index: usize, spec: ModelSpec) -> Result<Run> {
        let child = self.children().await[index].name.clone();
        let request = TrainingRequest { name: self.request.name.child(&child)?, spec, ..self.request.clone() };
        let mut context = self.context.clone();
        context.workers = (context.workers / self.request.spec.search.parallel_trials.max(1)).max(1);
        Box::pin(Run::begin_child(context, request, self.run.child(&child), child)).await
    }

    async fn children(&self) -> Vec<ChildRun> {
        self.record.lock().await.children.clone()
    }

    /// Changes the entry of a child run in the record.
    async fn note(&self, index: usize, change: impl FnOnce(&mut ChildRun)) -> Result<()> {
        let mut record = self.record.lock().await;
        if let Some(child) = record.children.get_mut(index) {
            change(child);
        }
        Ok(self.context.store.write_run(&record).await?)
    }
}

/// Returns the entries of the child runs when a search or cross-validation begins.
fn children(spec: &ModelSpec) -> Vec<ChildRun> {
    let (word, count) = spec.children().unwrap_or(("child", 0));
    let child = |index: u32| ChildRun {
        name: format!("{word}-{}", index + 1),
        options: if spec.split.folds.is_some() { Vec::new() } else { spec.trial_options(index) },
        status: ChildStatus::Waiting,
        epochs: 0,
        objective: None,
        seconds: 0.0,
        error: None,
    };
    (0..count).map(child).collect()
}
