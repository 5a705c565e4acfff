//! The steps of a run: profile, epochs, threshold, publication.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tusk_core::event::RunEvent;
use tusk_core::ids::RunId;
use tusk_core::job::{EpochSlice, Rows, Selection};
use tusk_core::manifest::{DataProfile, EpochTally, Manifest, RunRecord, RunStatus, Timing};
use tusk_core::mode::Exchange;
use tusk_core::protocol::TrainingRequest;
use tusk_core::store::ModelStore;

use super::data::{Profile, undecided};
use super::job::source::Source;
use super::{leak, progress};
use crate::error::{Error, Result};
use crate::parameter_server::ParameterStores;
use crate::run::active::ActiveRuns;
use crate::run::children::drop_children;
use crate::run::job_runner::JobRunner;

/// The services and settings that a run uses.
#[derive(Clone, Debug)]
pub(crate) struct RunContext {
    pub(crate) jobs: JobRunner,
    pub(crate) store: ModelStore,
    pub(crate) events: broadcast::Sender<RunEvent>,
    pub(crate) active: Arc<ActiveRuns>,
    pub(crate) cancel: CancellationToken,
    /// Number of workers if the spec does not set it.
    pub(crate) workers: u32,
    /// Threads per worker.
    pub(crate) threads: u32,
    /// The parameter stores of the runs whose workers exchange weights.
    pub(crate) parameters: ParameterStores,
}

/// An active run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(super) context: RunContext,
    pub(super) request: TrainingRequest,
    pub(super) record: RunRecord,
    pub(super) train_source: Source,
    /// The rows of VALIDATE ON.
    pub(super) validate_source: Option<Source>,
    /// The name of this run among the child runs, if it is one.
    pub(super) child: Option<String>,
}

impl Run {
    /// Profiles the rows and defines the model. Resumes the previous run if the request says so.
    pub(crate) async fn begin(context: RunContext, request: TrainingRequest, run: RunId) -> Result<Self> {
        Self::begin_as(context, request, run, None).await
    }

    /// Begins or resumes a child run. A finished child run is loaded and not trained again.
    pub(crate) async fn begin_child(
        context: RunContext,
        request: TrainingRequest,
        run: RunId,
        child: String,
    ) -> Result<Self> {
        Self::begin_as(context, TrainingRequest { resume: true, ..request }, run, Some(child)).await
    }

    async fn begin_as(
        context: RunContext,
        request: TrainingRequest,
        run: RunId,
        child: Option<String>,
    ) -> Result<Self> {
        let before = context.store.run(&request.name).await?;
        let is_previous = |record: &RunRecord| match child {
            Some(_) => record.run == run,
            None => record.status != RunStatus::Finished,
        };
        let previous = before.clone().filter(|record| request.resume && is_previous(record));
        if let Some(record) = &previous
            && record.definition.spec != request.spec
        {
            let reason = "its options are different".to_owned();
            return Err(Error::CannotResume { record: Box::new(record.clone()), reason });
        }
        let mut record = begun(&context, &request, run);
        if let Some(previous) = &previous {
            (record.run, record.workers, record.threads) = (previous.run.clone(), previous.workers, previous.threads);
        }
        let source = |plan| Source::new(plan, context.jobs.codec().as_ref());
        let train_source = source(&request.train)?;
        let validate_source = request.validate.as_ref().map(source).transpose()?;
        let mut this = Self { context, request, record, train_source, validate_source, child };
        match previous {
            Some(finished) if finished.status == RunStatus::Finished => this.record = finished,
            Some(previous) => this.profile(Some(previous)).await?,
            None => {
                // Written before the rows are read, so that a scheduler that is killed now resumes this run after a
                // restart.
                if this.child.is_none() {
                    let bytes = this.request.encode(this.context.jobs.codec().as_ref())?;
                    this.context.store.write_request(&this.record.model, bytes).await?;
                }
                this.context.store.write_run(&this.record).await?;
                this.profile(None).await?;
                // Not earlier: if this run is refused, the record of the earlier one is restored.
                if let Some(before) = &before {
                    drop_children(&this.context.store, before).await?;
                }
            }
        }
        Ok(this)
    }

    /// The run's id. A resumed run keeps its id.
    pub(crate) fn id(&self) -> &RunId {
        &self.record.run
    }

    async fn profile(&mut self, previous: Option<RunRecord>) -> Result<()> {
        let started = Instant::now();
        self.emit(RunEvent::Started {
            run: self.record.run.clone(),
            model: self.request.name.clone(),
            epochs: self.request.spec.training.epochs,
            resumed_from: previous.as_ref().map_or(0, |record| record.epochs.len() as u32),
        });
        let (mut train, train_census) = self.census(&self.train_source, self.selection()).await?;
        let (validate, validate_census) = match &self.validate_source {
            Some(source) => {
                let all = Selection { rows: Rows::All, dropped: Vec::new() };
                self.census(source, all).await.map(|(reports, census)| (reports, Some(census)))?
            }
            None => (Vec::new(), None),
        };
        let mut leak = None;
        leak::refuse_unseen(&self.request.spec, &self.request.train_name, &train_census, validate_census.as_ref())?;
        leak::refuse_folds(&self.request.spec, &self.request.train_name, &train_census)?;
        if let Some((mut found, rows)) = leak::find(&self.request.spec, &train_census, validate_census.as_ref()) {
            let dropped = leak::act(&self.request.spec, &self.request.train_name, &mut found, rows)?;
            leak = Some(found);
            if !dropped.is_empty() {
                self.record.dropped = dropped;
                // Count again without these rows, from the existing shards.
                train = self.census(&self.train_source, self.selection()).await?.0;
            }
        }
        for image in train.iter().chain(&validate).flat_map(|report| &report.unreadable) {
            tracing::warn!(model = %self.request.name, image = %image.name, reason = %image.reason, "image is skipped");
        }
        let profile = Profile { name: &self.request.train_name, train: &train, validate: &validate };
        let data = DataProfile { leak, shortcuts: self.request.shortcuts.clone(), ..profile.data() };
        let mut definition = profile.define(&self.request.spec, &data)?;
        if let Some(previous) = previous {
            // A run that ended before its rows were profiled has no fingerprint. Without epochs, nothing is lost.
            if !previous.epochs.is_empty() && previous.data.fingerprint != data.fingerprint {
                let reason = "the rows have changed".to_owned();
                return Err(Error::CannotResume { record: Box::new(previous), reason });
            }
            // The precision was chosen for the devices. It stays the same in a resumed run.
            if !previous.epochs.is_empty() {
                definition.precision = previous.definition.precision;
            }
            let dropped = std::mem::take(&mut self.record.dropped);
            self.record = RunRecord { status: RunStatus::Running, error: None, dropped, ..previous };
        } else {
            self.record.profile_seconds = started.elapsed().as_secs_f64();
            train.iter().chain(&validate).for_each(|report| self.record.profile_timing += report.task.timing);
        }
        self.record.definition = definition;
        self.record.data = data.clone();
        self.emit(RunEvent::Profiled { data, seconds: started.elapsed().as_secs_f64() });
        if self.record.epochs.is_empty() {
            self.transfer().await?;
        }
        self.context.store.write_run(&self.record).await?;
        Ok(())
    }

    /// Trains until the last epoch or an early stop, and publishes the model.
    pub(crate) async fn train(&mut self) -> Result<Manifest> {
        self.learn(u32::MAX).await?;
        let manifest = self.publish(&self.record.model).await?;
        self.finish().await?;
        self.emit(RunEvent::Finished(Box::new(manifest.clone())));
        Ok(manifest)
    }

    /// Trains until this epoch, the last epoch or an early stop.
    pub(crate) async fn learn(&mut self, until: u32) -> Result<()> {
        let done = |record: &RunRecord| record.epochs.last().map_or(0, |epoch| epoch.epoch);
        while done(&self.record) < until && progress::goes_on(&self.request.spec, &self.record.epochs) {
            match self.request.spec.distribution.mode.exchange() {
                Exchange::Mean => self.epoch(done(&self.record) + 1).await?,
                Exchange::ParameterServer { is_exclusive } => {
                    self.train_by_exchange(is_exclusive).await?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Records that the run is finished.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        self.record.status = RunStatus::Finished;
        Ok(self.context.store.write_run(&self.record).await?)
    }

    /// The record of the run.
    pub(crate) fn record(&self) -> &RunRecord {
        &self.record
    }

    async fn epoch(&mut self, epoch: u32) -> Result<()> {
        let started = Instant::now();
        let count = self.averages();
        let mut tally = EpochTally { epoch, workers: self.record.workers, ..EpochTally::default() };
        let mut weights = self.record.last.clone();
        let mut last = None;
        for index in 0..count {
            let trained = self.train_slice(epoch, EpochSlice { index, count }, weights.as_ref()).await?;
            tally.rows += trained.reports.iter().map(|r| r.task.rows).sum::<u64>();
            tally.loss_sum += trained.reports.iter().map(|r| r.loss_sum).sum::<f64>();
            tally.learning_rate = trained.reports.iter().map(|r| r.learning_rate).fold(0.0, f64::max);
            tally.decoded += trained.reports.iter().map(|r| r.task.decoded).sum::<u64>();
            tally.timing.aggregate += trained.aggregate_seconds;
            trained.reports.iter().for_each(|report| tally.timing += report.task.timing);

            let checkpoint_started = Instant::now();
            let (store, model) = (&self.context.store, &self.record.model);
            let file = match index + 1 == count {
                true => store.write_checkpoint(model, epoch, &trained.state).await?,
                false => store.write_part(model, epoch, index, &trained.state).await?,
            };
            // The checkpoints of earlier slices are not needed.
            store.keep_checkpoints(model, &[self.checkpoints(), vec![&file]].concat()).await?;
            tally.timing.checkpoint += checkpoint_started.elapsed().as_secs_f64();
            weights = Some(file.clone());
            last = Some(file);
        }
        let Some(file) = last else { return Ok(()) };
        let validation = self.validate(epoch, &file).await?;
        self.enter(tally, file, &validation, Some(started)).await
    }

    /// Returns the number of averages per epoch.
    fn averages(&self) -> u32 {
        let spec = &self.request.spec;
        let rows = self.record.data.train_rows_per_worker.iter().max().copied().unwrap_or(0);
        spec.averages(self.record.workers, rows.div_ceil(u64::from(spec.training.batch_size.max(1))))
    }

    /// Records why the run ended before its model was published.
    pub(crate) async fn give_up(&mut self, error: &Error) {
        self.record.status = match error {
            Error::Cancelled { .. } => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        };
        self.record.error = Some(error.to_string());
        // A store that has just failed for a minute is not retried again.
        let store = match error {
            Error::Core(tusk_core::Error::Store { .. }) => self.context.store.without_patience(),
            _ => self.context.store.clone(),
        };
        let ended = async {
            store.write_run(&self.record).await?;
            store.keep_checkpoints(&self.record.model, &self.checkpoints()).await
        };
        if let Err(error) = ended.await {
            tracing::warn!(model = %self.record.model, %error, "the end of the run could not be recorded");
        }
    }

    pub(super) fn cancelled(&self) -> Error {
        Error::Cancelled { model: self.record.model.to_string(), epochs: self.record.epochs.len() }
    }

    pub(super) fn emit(&self, event: RunEvent) {
        // The start and the end of a child run are not those of the whole run.
        if self.child.is_some() && matches!(event, RunEvent::Started { .. } | RunEvent::Finished(_)) {
            return;
        }
        // Having no receiver is not an error.
        drop(self.context.events.send(event));
    }
}

/// Returns the record of a run whose rows are not read yet.
pub(crate) fn begun(context: &RunContext, request: &TrainingRequest, run: RunId) -> RunRecord {
    RunRecord {
        run,
        model: request.name.clone(),
        status: RunStatus::Running,
        error: None,
        started_unix_ms: unix_ms(),
        definition: undecided(&request.spec),
        workers: request.spec.distribution.workers.unwrap_or(context.workers),
        threads: context.threads,
        data: DataProfile::default(),
        profile_seconds: 0.0,
        profile_timing: Timing::default(),
        transfer: None,
        epochs: Vec::new(),
        best_epoch: None,
        last: None,
        best: None,
        exchange: None,
        dropped: Vec::new(),
        children: Vec::new(),
    }
}

/// Returns the milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
