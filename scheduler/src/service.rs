//! The training service: the runs of a process, started, watched and cancelled by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tusk_core::event::{Progress, ProgressSink, RunEvent};
use tusk_core::ids::{ModelName, RunId};
use tusk_core::manifest::{Manifest, RunRecord};
use tusk_core::store::ModelStore;

use crate::error::{Error, Result};
use crate::job::JobRunner;
use crate::run::{Run, RunContext, TrainingRequest, explain, unix_ms};

/// Events that a slow watcher may lag behind before it misses some. Far above what a run sends in a minute.
const EVENTS_WAITING_MAX: usize = 4096;

/// What a training service is made of.
#[derive(Debug)]
pub struct ServiceSettings {
    /// The scheduler that epoch jobs go to, as `http://host:port` or `df://host:port`.
    pub scheduler_url: String,
    /// Where models go.
    pub store: ModelStore,
    /// How plans are written.
    pub codec: Arc<dyn PhysicalExtensionCodec>,
    /// Workers where a spec leaves them to us: one per executor device.
    pub workers: u32,
    /// Threads per worker.
    pub threads: u32,
    /// The largest gRPC message, in bytes.
    pub message_bytes_max: usize,
}

/// A run that was started. Dropping the handle leaves the run alone.
#[derive(Debug)]
pub struct RunHandle {
    /// What happens in it.
    pub events: broadcast::Receiver<RunEvent>,
    cancel: CancellationToken,
    outcome: tokio::task::JoinHandle<Result<Manifest>>,
}

impl RunHandle {
    /// Asks the run to stop; its checkpoints stay.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// What asks the run to stop.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// Why the run failed, or that it was cancelled.
    pub async fn finish(self) -> Result<Manifest> {
        self.outcome.await.unwrap_or_else(|error| {
            Err(Error::Job {
                phase: "the training run".to_owned(),
                reason: format!("it stopped unexpectedly: {error}"),
            })
        })
    }
}

/// Trains models. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrainingService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    jobs: JobRunner,
    store: ModelStore,
    workers: u32,
    threads: u32,
    active: Arc<ActiveRuns>,
}

/// The runs under way. Takes the executors' progress and hands it to those who watch.
#[derive(Debug, Default)]
pub struct ActiveRuns {
    runs: Mutex<HashMap<ModelName, ActiveRun>>,
}

#[derive(Debug)]
struct ActiveRun {
    run: RunId,
    events: broadcast::Sender<RunEvent>,
    cancel: CancellationToken,
    idle: watch::Receiver<()>,
}

impl ActiveRuns {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ModelName, ActiveRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for ActiveRuns {
    fn report(&self, progress: Progress) {
        for active in self.lock().values() {
            if active.run == progress.run {
                // Nobody has to listen.
                drop(active.events.send(RunEvent::Progress(progress.clone())));
            }
        }
    }
}

impl TrainingService {
    /// A service whose runs are entered in `active`, to which executors report.
    ///
    /// # Errors
    /// [`Error::Scheduler`] when the scheduler does not answer.
    pub async fn connect(settings: ServiceSettings, active: Arc<ActiveRuns>) -> Result<Self> {
        let jobs = JobRunner::connect(&settings.scheduler_url, settings.codec, settings.message_bytes_max).await?;
        let ServiceSettings { store, workers, threads, .. } = settings;
        Ok(Self { inner: Arc::new(Inner { jobs, store, workers, threads, active }) })
    }

    /// Where models go.
    #[must_use]
    pub fn store(&self) -> &ModelStore {
        &self.inner.store
    }

    /// Starts a run.
    ///
    /// # Errors
    /// When the model exists and may not be replaced, is being trained already, or its rows cannot be learned from.
    pub async fn start(&self, request: TrainingRequest) -> Result<RunHandle> {
        let inner = &self.inner;
        let name = request.name.clone();
        let run = RunId::starting_at(unix_ms());
        let (events, watcher) = broadcast::channel(EVENTS_WAITING_MAX);
        let cancel = CancellationToken::new();
        let (busy, idle) = watch::channel(());
        {
            let mut active = inner.active.lock();
            if active.contains_key(&name) {
                return Err(Error::AlreadyTraining { model: name.to_string() });
            }
            let entry = ActiveRun { run: run.clone(), events: events.clone(), cancel: cancel.clone(), idle };
            active.insert(name.clone(), entry);
        }
        let guard = Deregister { active: Arc::clone(&inner.active), name: name.clone(), _busy: busy };
        if !request.or_replace && inner.store.find_manifest(&name).await?.is_some() {
            return Err(tusk_core::Error::ModelExists { name: name.to_string() }.into());
        }
        let context = RunContext {
            jobs: inner.jobs.clone(),
            store: inner.store.clone(),
            events,
            cancel: cancel.clone(),
            workers: inner.workers,
            threads: inner.threads,
        };
        let outcome = tokio::spawn(async move {
            let guard = guard;
            let mut run = Run::begin(context, request, run).await?;
            guard.rename(run.id());
            let outcome = run.train().await;
            if let Err(error) = &outcome {
                tracing::warn!(model = %guard.name, %error, "training ended early");
                run.give_up(error).await;
            }
            outcome
        });
        Ok(RunHandle { events: watcher, cancel, outcome })
    }

    /// The plan of an epoch job.
    ///
    /// # Errors
    /// When the operator cannot be made.
    pub fn explain(&self, request: &TrainingRequest) -> Result<String> {
        explain(request, self.inner.workers, self.inner.store.url())
    }

    /// Cancels the run of a model and waits until it has stopped.
    ///
    /// # Errors
    /// [`Error::NoTraining`].
    pub async fn cancel(&self, name: &ModelName) -> Result<()> {
        let found = self.inner.active.lock().get(name).map(|active| (active.cancel.clone(), active.idle.clone()));
        let Some((cancel, mut idle)) = found else {
            return Err(Error::NoTraining { model: name.to_string(), what: "is under way" });
        };
        cancel.cancel();
        // The sender never sends: the wait ends when the run drops it.
        drop(idle.changed().await);
        Ok(())
    }

    /// The last run of a model, under way or not.
    ///
    /// # Errors
    /// [`Error::NoTraining`], or the store's.
    pub async fn training(&self, name: &ModelName) -> Result<RunRecord> {
        let record = self.inner.store.run(name).await?;
        record.ok_or_else(|| Error::NoTraining { model: name.to_string(), what: "is recorded" })
    }

    /// Whether a run of this name is under way in this process.
    #[must_use]
    pub fn is_active(&self, name: &ModelName) -> bool {
        self.inner.active.lock().contains_key(name)
    }
}

/// Takes a run off the list however it ends.
struct Deregister {
    active: Arc<ActiveRuns>,
    name: ModelName,
    _busy: watch::Sender<()>,
}

impl Deregister {
    /// A resumed run keeps the id it had.
    fn rename(&self, run: &RunId) {
        if let Some(active) = self.active.lock().get_mut(&self.name) {
            active.run = run.clone();
        }
    }
}

impl Drop for Deregister {
    fn drop(&mut self) {
        self.active.lock().remove(&self.name);
    }
}
