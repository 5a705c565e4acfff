//! The training service: starts, watches and cancels the runs of a process by name.

pub(crate) mod adapting;
pub(crate) mod epoch_rows;
mod register;

use std::sync::Arc;

use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tusk_core::event::{RunEvent, SharedProgress};
use tusk_core::ids::{ModelName, RunId};
use tusk_core::manifest::{EpochReport, Manifest, RunRecord, RunStatus};
use tusk_core::protocol::{RunSummary, TrainingRequest};
use tusk_core::store::ModelStore;

use crate::error::{Error, Result};
use crate::executors::SharedExecutors;
use crate::opaque::Opaque;
use crate::parameter_server::ParameterStores;
use crate::run::active::{ActiveRuns, Deregister};
use crate::run::children;
use crate::run::job_runner::{JobRunner, Scheduler};
use crate::run::{Run, RunContext, explain, unix_ms};
use crate::search::CompositeRun;
use register::Registered;

/// The settings of a training service.
pub(crate) struct ServiceSettings {
    /// The scheduler that runs jobs.
    pub(crate) scheduler: Scheduler,
    /// The model store.
    pub(crate) store: ModelStore,
    /// The codec of plans.
    pub(crate) codec: Arc<dyn PhysicalExtensionCodec>,
    /// The executors, which report their devices and threads.
    pub(crate) executors: SharedExecutors,
    /// Threads per worker, used until an executor reports its own number.
    pub(crate) threads: u32,
}

/// A handle of a run. Dropping it does not stop the run.
#[derive(Debug)]
pub struct RunHandle {
    /// The epochs that had finished before this handle was made.
    pub past: Vec<EpochReport>,
    /// The events of the run.
    pub events: broadcast::Receiver<RunEvent>,
    cancel: CancellationToken,
    outcome: Outcome,
}

/// The source of a run's result.
#[derive(Debug)]
enum Outcome {
    /// The task that executes the run.
    Task(tokio::task::JoinHandle<Result<Manifest>>),
    /// The run record, for a watcher that did not start the run.
    Record(TrainingService, ModelName),
}

impl RunHandle {
    /// Requests that the run stops. Its checkpoints are kept.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Returns a handle that cancels the run.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits until the run ends.
    ///
    /// # Errors
    /// Returns the error with which the run failed, or [`Error::Cancelled`].
    pub async fn finish(self) -> Result<Manifest> {
        match self.outcome {
            Outcome::Task(task) => task.await.unwrap_or_else(|error| {
                Err(Error::Job {
                    phase: "the training run".to_owned(),
                    reason: format!("stopped unexpectedly: {error}"),
                })
            }),
            Outcome::Record(service, name) => service.outcome(&name).await,
        }
    }
}

/// Trains models. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrainingService {
    inner: Opaque<Inner>,
}

#[derive(Debug)]
struct Inner {
    jobs: JobRunner,
    store: ModelStore,
    executors: SharedExecutors,
    threads: u32,
    parameters: ParameterStores,
    active: Arc<ActiveRuns>,
}

impl TrainingService {
    /// Creates a service that registers its runs in `active`, which receives the progress of the executors.
    pub(crate) async fn new(settings: ServiceSettings, active: Arc<ActiveRuns>) -> Result<Self> {
        let ServiceSettings { scheduler, store, codec, executors, threads } = settings;
        let jobs = JobRunner::new(scheduler, codec).await?;
        let parameters = ParameterStores::default();
        Ok(Self { inner: Opaque::new(Inner { jobs, store, executors, threads, parameters, active }) })
    }

    /// Receives the progress of tasks from executors in this process.
    #[must_use]
    pub fn progress(&self) -> SharedProgress {
        Arc::clone(&self.inner.active) as SharedProgress
    }

    /// The active runs.
    pub(crate) fn active(&self) -> &Arc<ActiveRuns> {
        &self.inner.active
    }

    /// The parameter stores, with which workers exchange weights.
    pub(crate) fn parameters(&self) -> &ParameterStores {
        &self.inner.parameters
    }

    /// The codec of plans.
    pub(crate) fn codec(&self) -> &Arc<dyn PhysicalExtensionCodec> {
        self.inner.jobs.codec()
    }

    /// Returns the numbers of running and of waiting jobs.
    pub(crate) fn jobs(&self) -> (usize, usize) {
        self.inner.jobs.counts()
    }

    /// Returns a summary of each active run, sorted by model.
    #[must_use]
    pub fn summaries(&self) -> Vec<RunSummary> {
        let mut summaries: Vec<_> = self.inner.active.lock().values().map(|active| active.summary.clone()).collect();
        summaries.sort_by(|a, b| a.model.cmp(&b.model));
        summaries
    }

    /// Resumes every run that was active when the scheduler ended, from its last checkpoint. Returns how many runs were
    /// resumed, and how many could not be resumed.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read. A run that cannot be resumed is skipped, with an error in the log.
    pub async fn resume_all(&self) -> Result<(usize, usize)> {
        let (mut resumed, mut refused) = (0, 0);
        for name in self.inner.store.run_names().await? {
            match self.resume(&name).await {
                Ok(taken_up) => resumed += usize::from(taken_up),
                Err(error) => {
                    refused += 1;
                    tracing::error!(model = %name, %error, "failed to resume the run");
                }
            }
        }
        Ok((resumed, refused))
    }

    async fn resume(&self, name: &ModelName) -> Result<bool> {
        let store = &self.inner.store;
        let Some(record) = store.run(name).await?.filter(|record| record.status == RunStatus::Running) else {
            return Ok(false);
        };
        let Some(bytes) = store.request(name).await? else { return Ok(false) };
        let request = TrainingRequest::decode(&bytes, &self.inner.jobs.task_context(), self.codec().as_ref())?;
        tracing::info!(model = %name, run = %record.run, epochs = record.epochs.len(), "resuming a run");
        // The request was accepted before. A model of this name may have been published since then.
        self.start(TrainingRequest { resume: true, or_replace: true, ..request }).await?;
        Ok(true)
    }

    /// Watches a run that another client started. The epochs that have finished are in [`RunHandle::past`].
    ///
    /// # Errors
    /// [`Error::NoTraining`].
    pub async fn follow(&self, name: &ModelName) -> Result<RunHandle> {
        let watched =
            self.inner.active.lock().get(name).map(|active| (active.events.subscribe(), active.cancel.clone()));
        // Subscribes before it reads the record, so that no epoch is missed between the two.
        let past = self.training(name).await?.epochs;
        let (events, cancel) = watched.unwrap_or_else(|| (broadcast::channel(1).1, CancellationToken::new()));
        Ok(RunHandle { past, events, cancel, outcome: Outcome::Record(self.clone(), name.clone()) })
    }

    /// Returns the result of the last run of a model, from its record.
    async fn outcome(&self, name: &ModelName) -> Result<Manifest> {
        let record = self.training(name).await?;
        let model = name.to_string();
        match record.status {
            RunStatus::Finished => Ok(self.inner.store.manifest(name).await?),
            RunStatus::Cancelled => Err(Error::Cancelled { model, epochs: record.epochs.len() }),
            RunStatus::Failed => Err(Error::RunFailed { message: record.error.unwrap_or_default() }),
            RunStatus::Running => Err(Error::NoTraining { model, what: "is running in this scheduler" }),
        }
    }

    /// The model store.
    #[must_use]
    pub fn store(&self) -> &ModelStore {
        &self.inner.store
    }

    /// Starts a run.
    ///
    /// # Errors
    /// Returns an error if the model exists and may not be replaced, or is already being trained. If its rows cannot be
    /// used for training, [`RunHandle::finish`] returns the error.
    pub async fn start(&self, request: TrainingRequest) -> Result<RunHandle> {
        let run = RunId::starting_at(unix_ms());
        let Registered { context, events, guard } = self.register(&request.name, &run, request.spec.training.epochs)?;
        if !request.or_replace && self.inner.store.find_manifest(&request.name).await?.is_some() {
            return Err(tusk_core::Error::ModelExists { name: request.name.to_string() }.into());
        }
        let cancel = context.cancel.clone();
        let outcome = tokio::spawn(run_to_its_end(context, request, run, guard));
        Ok(RunHandle { past: Vec::new(), events, cancel, outcome: Outcome::Task(outcome) })
    }

    /// Returns the plan of a train job as text.
    ///
    /// # Errors
    /// Returns an error if the training operator cannot be created.
    pub fn explain(&self, request: &TrainingRequest) -> Result<String> {
        explain(request, self.inner.executors.devices().max(1), self.inner.store.url())
    }

    /// Cancels the run of a model and waits until it has stopped.
    ///
    /// # Errors
    /// [`Error::NoTraining`].
    pub async fn cancel(&self, name: &ModelName) -> Result<()> {
        let found = self.inner.active.lock().get(name).map(|active| (active.cancel.clone(), active.idle.clone()));
        let Some((cancel, mut idle)) = found else {
            return Err(Error::NoTraining { model: name.to_string(), what: "is running" });
        };
        cancel.cancel();
        // Nothing is ever sent. The wait ends when the run drops the sender.
        drop(idle.changed().await);
        Ok(())
    }

    /// Returns the record of the last run of a model, active or not.
    ///
    /// # Errors
    /// [`Error::NoTraining`], or an error of the store.
    pub async fn training(&self, name: &ModelName) -> Result<RunRecord> {
        let record = self.inner.store.run(name).await?;
        let mut record = record.ok_or_else(|| Error::NoTraining { model: name.to_string(), what: "is recorded" })?;
        let workers = self.inner.parameters.workers(&record.run);
        if let Some(exchange) = record.exchange.as_mut().filter(|_| !workers.is_empty()) {
            exchange.workers = workers;
        }
        // Until a run is finished, its record may be older than those of its child runs.
        let objective = record.definition.spec.search.objective;
        if record.status != RunStatus::Finished {
            for (index, child) in children::child_names(&record).iter().enumerate() {
                if let Some(child) =
                    self.inner.store.run(child).await?.filter(|child| child.run.belongs_to(&record.run))
                {
                    children::progress_of(&mut record.children[index], &child, objective);
                    record.epochs.extend(child.epochs);
                }
            }
        }
        Ok(record)
    }

    /// Returns whether a run of this name is active in this process.
    #[must_use]
    pub fn is_active(&self, name: &ModelName) -> bool {
        self.inner.active.lock().contains_key(name)
    }
}

/// Executes a run. If it fails before its rows are known, the record of an earlier run is kept.
async fn run_to_its_end(
    context: RunContext,
    request: TrainingRequest,
    run: RunId,
    guard: Deregister,
) -> Result<Manifest> {
    let (store, name) = (context.store.clone(), request.name.clone());
    let before = match store.run(&name).await? {
        Some(record) => Some(Before { record, request: store.request(&name).await? }),
        None => None,
    };
    let begun = match request.spec.children() {
        Some(_) => CompositeRun::begin(context, request, run).await.map(|study| Begun::CompositeRun(Box::new(study))),
        None => Run::begin(context, request, run).await.map(|run| Begun::Run(Box::new(run))),
    };
    let mut run = match begun {
        Ok(run) => run,
        Err(error) => {
            tracing::warn!(model = %name, %error, "training did not start");
            if let Err(error) = note_refusal(&store, &name, before, &error).await {
                tracing::warn!(model = %name, %error, "failed to record the end of the run");
            }
            return Err(error);
        }
    };
    guard.rename(run.id());
    let outcome = run.train().await;
    if let Err(error) = &outcome {
        tracing::warn!(model = %guard.name, %error, "training ended early");
        run.give_up(error).await;
    }
    outcome
}

/// A run that has begun: a run of one net, or a run that consists of child runs.
enum Begun {
    Run(Box<Run>),
    CompositeRun(Box<CompositeRun>),
}

impl Begun {
    fn id(&self) -> &RunId {
        match self {
            Self::Run(run) => run.id(),
            Self::CompositeRun(study) => study.id(),
        }
    }

    async fn train(&mut self) -> Result<Manifest> {
        match self {
            Self::Run(run) => run.train().await,
            Self::CompositeRun(study) => Box::pin(study.train()).await,
        }
    }

    async fn give_up(&mut self, error: &Error) {
        match self {
            Self::Run(run) => run.give_up(error).await,
            Self::CompositeRun(study) => study.give_up(error).await,
        }
    }
}

/// What the store has of the earlier run of a model.
struct Before {
    record: RunRecord,
    request: Option<Vec<u8>>,
}

/// Records why a run did not begin. If an earlier run has epochs or child runs, restores its record and its request
/// instead, because its checkpoints are more useful.
async fn note_refusal(
    store: &ModelStore,
    name: &ModelName,
    before: Option<Before>,
    error: &Error,
) -> tusk_core::Result<()> {
    let has_checkpoints = |record: &RunRecord| !record.epochs.is_empty() || !record.children.is_empty();
    if let Some(before) = before.filter(|before| has_checkpoints(&before.record)) {
        if let Some(request) = before.request {
            store.write_request(name, request).await?;
        }
        return store.write_run(&before.record).await;
    }
    match store.run(name).await? {
        Some(begun) if begun.status == RunStatus::Running => {
            store.write_run(&RunRecord { status: RunStatus::Failed, error: Some(error.to_string()), ..begun }).await
        }
        _ => Ok(()),
    }
}
