//! The life of a run: profile, epochs, threshold, publication.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tusk_core::event::RunEvent;
use tusk_core::ids::RunId;
use tusk_core::manifest::{EpochTally, FORMAT_VERSION, FileRef, Manifest, RunRecord, RunStatus, Timing};
use tusk_core::physical::{Part, Phase, PhaseReport, Rows};
use tusk_core::spec::Mode;
use tusk_core::state::ModelState;
use tusk_core::store::ModelStore;

use super::TrainingRequest;
use super::attempts::Attempts;
use super::data::{Profile, undecided};
use super::progress;
use super::validation::Validation;
use crate::active::ActiveRuns;
use crate::aggregator::Aggregator;
use crate::error::{Error, Result};
use crate::job::JobRunner;
use crate::outer;
use crate::parameters::ParameterService;

/// What a run works with.
#[derive(Clone, Debug)]
pub(crate) struct RunContext {
    pub(crate) jobs: JobRunner,
    pub(crate) store: ModelStore,
    pub(crate) events: broadcast::Sender<RunEvent>,
    pub(crate) active: Arc<ActiveRuns>,
    pub(crate) cancel: CancellationToken,
    /// Workers where the spec leaves them to us.
    pub(crate) workers: u32,
    /// Threads per worker.
    pub(crate) threads: u32,
    /// Where workers exchange weights.
    pub(crate) parameters: ParameterService,
}

/// A run that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(super) context: RunContext,
    pub(super) request: TrainingRequest,
    pub(super) record: RunRecord,
}

/// What a job that trains came to.
struct Trained {
    state: ModelState,
    reports: Vec<PhaseReport>,
    aggregate_seconds: f64,
}

impl Run {
    /// Profiles the rows and decides what is to be trained, or takes up the run that is to be resumed.
    pub(crate) async fn begin(context: RunContext, request: TrainingRequest, run: RunId) -> Result<Self> {
        let previous = if request.resume { context.store.run(&request.name).await? } else { None };
        let previous = previous.filter(|record| record.status != RunStatus::Finished);
        if let Some(record) = &previous
            && record.definition.spec != request.spec
        {
            let reason = "its options were others".to_owned();
            return Err(Error::CannotResume { record: Box::new(record.clone()), reason });
        }
        let record = RunRecord {
            run: previous.as_ref().map_or(run, |record| record.run.clone()),
            model: request.name.clone(),
            status: RunStatus::Running,
            error: None,
            started_unix_ms: unix_ms(),
            definition: undecided(&request.spec),
            workers: previous.as_ref().map_or(request.spec.workers.unwrap_or(context.workers), |r| r.workers),
            threads: previous.as_ref().map_or(context.threads, |r| r.threads),
            data: Default::default(),
            profile_seconds: 0.0,
            profile_timing: Timing::default(),
            transfer: None,
            epochs: Vec::new(),
            best_epoch: None,
            last: None,
            best: None,
            exchange: None,
        };
        let mut this = Self { context, request, record };
        if previous.is_none() {
            // Before the rows are read: a scheduler that dies now knows what it was doing when it is started again.
            let bytes = this.request.encode(this.context.jobs.codec().as_ref())?;
            this.context.store.write_request(&this.record.model, bytes).await?;
            this.context.store.write_run(&this.record).await?;
        }
        this.profile(previous).await?;
        Ok(this)
    }

    /// The run's id; a resumed run keeps the one it had.
    pub(crate) fn id(&self) -> &RunId {
        &self.record.run
    }

    async fn profile(&mut self, previous: Option<RunRecord>) -> Result<()> {
        let started = Instant::now();
        self.emit(RunEvent::Started {
            run: self.record.run.clone(),
            model: self.request.name.clone(),
            epochs: self.request.spec.epochs,
            resumed_from: previous.as_ref().map_or(0, |record| record.epochs.len() as u32),
        });
        let train = self.reports(Phase::Profile, self.training_rows(), &self.request.train).await?;
        let validate = match &self.request.validate {
            Some(source) => self.reports(Phase::Profile, Rows::All, source).await?,
            None => Vec::new(),
        };
        for image in train.iter().chain(&validate).flat_map(|report| &report.unreadable) {
            tracing::warn!(model = %self.request.name, image = %image.name, reason = %image.reason, "image is skipped");
        }
        let profile = Profile { name: &self.request.train_name, train: &train, validate: &validate };
        let data = profile.data();
        let mut definition = profile.define(&self.request.spec, &data)?;
        if let Some(previous) = previous {
            // A run that ended before its rows were known has no fingerprint, and nothing to lose.
            if !previous.epochs.is_empty() && previous.data.fingerprint != data.fingerprint {
                let reason = "the rows have changed".to_owned();
                return Err(Error::CannotResume { record: Box::new(previous), reason });
            }
            // What was decided from the machine stays as it was.
            if !previous.epochs.is_empty() {
                definition.precision = previous.definition.precision;
            }
            self.record = RunRecord { status: RunStatus::Running, error: None, ..previous };
        } else {
            self.record.profile_seconds = started.elapsed().as_secs_f64();
            train.iter().chain(&validate).for_each(|report| self.record.profile_timing += report.timing);
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

    /// Trains until there is nothing left to do, and publishes.
    pub(crate) async fn train(&mut self) -> Result<Manifest> {
        while progress::goes_on(&self.request.spec, &self.record.epochs) {
            match self.request.spec.mode {
                Mode::Synchronous => self.epoch(self.record.epochs.last().map_or(0, |e| e.epoch) + 1).await?,
                Mode::Asynchronous | Mode::Hogwild => {
                    self.train_by_exchange().await?;
                    break;
                }
            }
        }
        let manifest = self.publish().await?;
        self.record.status = RunStatus::Finished;
        self.context.store.write_run(&self.record).await?;
        self.emit(RunEvent::Finished(Box::new(manifest.clone())));
        Ok(manifest)
    }

    async fn epoch(&mut self, epoch: u32) -> Result<()> {
        let started = Instant::now();
        let count = self.averages();
        let mut tally = EpochTally { epoch, workers: self.record.workers, ..EpochTally::default() };
        let mut weights = self.record.last.clone();
        let mut last = None;
        for index in 0..count {
            let trained = self.train_part(epoch, Part { index, count }, weights.as_ref()).await?;
            tally.rows += trained.reports.iter().map(|r| r.rows).sum::<u64>();
            tally.loss_sum += trained.reports.iter().map(|r| r.loss_sum).sum::<f64>();
            tally.learning_rate = trained.reports.iter().map(|r| r.learning_rate).fold(0.0, f64::max);
            tally.decoded += trained.reports.iter().map(|r| r.decoded).sum::<u64>();
            tally.timing.aggregate += trained.aggregate_seconds;
            trained.reports.iter().for_each(|report| tally.timing += report.timing);

            let checkpoint_started = Instant::now();
            let (store, model) = (&self.context.store, &self.record.model);
            let file = match index + 1 == count {
                true => store.write_checkpoint(model, epoch, &trained.state).await?,
                false => store.write_part(model, epoch, index, &trained.state).await?,
            };
            // Of the parts before nobody needs anything.
            store.keep_checkpoints(model, &[self.checkpoints(), vec![&file]].concat()).await?;
            tally.timing.checkpoint += checkpoint_started.elapsed().as_secs_f64();
            weights = Some(file.clone());
            last = Some(file);
        }
        let Some(file) = last else { return Ok(()) };
        let validation = self.validate(epoch, &file).await?;
        self.enter(tally, file, &validation, Some(started)).await
    }

    /// How often this run's workers are averaged in an epoch.
    fn averages(&self) -> u32 {
        let spec = &self.request.spec;
        let rows = self.record.data.train_rows_per_worker.iter().max().copied().unwrap_or(0);
        spec.averages(self.record.workers, rows.div_ceil(u64::from(spec.batch_size.max(1))))
    }

    async fn train_part(&self, epoch: u32, part: Part, weights: Option<&FileRef>) -> Result<Trained> {
        let mut attempts = Attempts::default();
        loop {
            match self.try_train_part(epoch, part, weights).await {
                Err(error) => attempts.after(error, &self.context.cancel).await?,
                answered => return answered,
            }
        }
    }

    async fn try_train_part(&self, epoch: u32, part: Part, weights: Option<&FileRef>) -> Result<Trained> {
        let plan = self.train_plan(epoch, part, weights.cloned())?;
        let mut aggregator = Aggregator::default();
        let mut seconds = 0.0;
        self.answers(&format!("training epoch {epoch}"), plan, |answer| {
            let started = Instant::now();
            let folded = aggregator.fold(answer);
            seconds += started.elapsed().as_secs_f64();
            folded
        })
        .await?;
        let spec = &self.request.spec;
        let previous = match weights {
            Some(file) if outer::needs_previous(spec) => Some(self.context.store.read_state(file).await?),
            _ => None,
        };
        let started = Instant::now();
        let (mean, reports) = aggregator.finish(self.record.workers)?;
        let state = outer::next_version(spec, previous.as_ref(), mean);
        Ok(Trained { state, reports, aggregate_seconds: seconds + started.elapsed().as_secs_f64() })
    }

    pub(super) async fn validate(&self, epoch: u32, weights: &FileRef) -> Result<Validation> {
        let mut attempts = Attempts::default();
        loop {
            match self.try_validate(epoch, weights).await {
                Err(error) => attempts.after(error, &self.context.cancel).await?,
                answered => return answered,
            }
        }
    }

    async fn try_validate(&self, epoch: u32, weights: &FileRef) -> Result<Validation> {
        let (rows, source) = match &self.request.validate {
            Some(source) => (Rows::All, source),
            None if self.record.data.val_rows.is_empty() => return Ok(Validation::default()),
            None => (Rows::HeldOut, &self.request.train),
        };
        let plan = self.plan(Phase::Validate, rows, epoch, Some(weights.clone()), source)?;
        let mut validation = Validation::default();
        self.answers(&format!("validating epoch {epoch}"), plan, |answer| Ok(validation.fold(answer)?)).await?;
        Ok(validation)
    }

    async fn publish(&self) -> Result<Manifest> {
        let (Some(best_epoch), Some(best)) = (self.record.best_epoch, &self.record.best) else {
            let message = "training ended without an epoch to publish".to_owned();
            return Err(tusk_core::Error::Data { message }.into());
        };
        let validation = self.validate(best_epoch, best).await?;
        let state = self.context.store.read_state(best).await?;
        let state = state.moving_average().unwrap_or_else(|| state.without_optimizer());
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            name: self.record.model.clone(),
            run: self.record.run.clone(),
            created_unix_ms: unix_ms(),
            definition: self.record.definition.clone(),
            threshold: validation.threshold(&self.record.definition),
            temperature: validation.temperature(&self.record.definition),
            best_epoch,
            epochs: self.record.epochs.clone(),
            data: self.record.data.clone(),
            transfer: self.record.transfer.clone(),
            parameters: state.parameters() as u64,
            weights: self.context.store.write_weights(&self.record.model, &state).await?,
            tusk_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.context.store.publish(&manifest).await?;
        Ok(manifest)
    }

    /// Writes down why the run ended before its model was published.
    pub(crate) async fn give_up(&mut self, error: &Error) {
        self.record.status = match error {
            Error::Cancelled { .. } => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        };
        self.record.error = Some(error.to_string());
        // A store that has just failed for a minute is not waited for once more.
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

    pub(super) fn training_rows(&self) -> Rows {
        let held_out = self.request.validate.is_none() && self.request.spec.validation_fraction > 0.0;
        if held_out { Rows::Training } else { Rows::All }
    }

    pub(super) fn cancelled(&self) -> Error {
        Error::Cancelled { model: self.record.model.to_string(), epochs: self.record.epochs.len() }
    }

    pub(super) fn emit(&self, event: RunEvent) {
        // Nobody has to listen.
        drop(self.context.events.send(event));
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
