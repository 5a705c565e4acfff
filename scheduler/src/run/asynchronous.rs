//! Training by exchange (modes asynchronous and hogwild). One job trains all epochs, and its workers pull weights from
//! the parameter server and push to it. Meanwhile the run checkpoints and validates each epoch that ends.
//!
//! An epoch ends when every worker that has rows has made its last push of the epoch. Its checkpoint holds the current
//! weights, including what faster workers have pushed in the next epoch, and the progress of every worker. A resumed
//! run continues from there, and each row still counts once per epoch.
//!
//! A run cannot deadlock. Workers do not wait for each other. A validation job that finds no free slot runs at the
//! latest when the workers have finished. Epochs that end meanwhile share a checkpoint.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tusk_core::ids::ModelName;
use tusk_core::job::Exchange;
use tusk_core::manifest::{EpochTally, ExchangeRecord, FileRef, Unvalidated};
use tusk_core::protocol::parameters::SessionKey;

use super::progress;
use super::training::Run;
use super::validation::Validation;
use crate::error::{Error, Result};
use crate::metrics;
use crate::parameter_server::{ExchangeSettings, ParameterStore};

/// Maximum number of checkpoints that wait for validation. Epochs that end when it is reached share a checkpoint.
const UNVALIDATED_MAX: usize = 4;

type Validating = BoxFuture<'static, Result<(FileRef, Validation)>>;

impl Run {
    /// Trains until the last epoch or an early stop. The parameter server applies one push at a time if `is_exclusive`.
    pub(super) async fn train_by_exchange(&mut self, is_exclusive: bool) -> Result<()> {
        let record = self.record.exchange.get_or_insert_default().clone();
        let session = SessionKey(uuid::Uuid::new_v4().to_string());
        let exchange = self.context.parameters.open(
            &self.record.run,
            ExchangeSettings {
                is_exclusive,
                session: session.clone(),
                epochs: self.request.spec.training.epochs,
                rows: self.record.data.train_rows_per_worker.clone(),
                record: record.clone(),
            },
        );
        let job = Exchange {
            selection: self.selection(),
            first_epoch: record.workers.iter().map(|worker| worker.epochs).min().unwrap_or(0) + 1,
            weights: self.record.last.clone(),
            session,
        };
        let cancel = self.context.cancel.child_token();
        let _stop_tasks_on_error = cancel.clone().drop_guard();
        let mut run = self.clone();
        run.context.cancel = cancel;
        let job = tokio::spawn(run.exchange(job, Arc::clone(&exchange.store)));
        self.follow(&exchange.store, job).await
    }

    /// Checkpoints and validates the epochs of a job until it ends.
    async fn follow(
        &mut self,
        store: &Arc<ParameterStore>,
        mut job: tokio::task::JoinHandle<Result<()>>,
    ) -> Result<()> {
        let mut ended = store.watch();
        let mut validating: Option<Validating> = None;
        let (mut is_running, mut is_stopped) = (true, false);
        loop {
            if !is_stopped && store.has_ended() && self.unvalidated().len() < UNVALIDATED_MAX {
                self.checkpoint_exchange(store).await?;
            }
            if validating.is_none() && !is_stopped {
                validating = self.next_validation();
            }
            if !is_running && validating.is_none() {
                break;
            }
            tokio::select! {
                outcome = &mut job, if is_running => {
                    is_running = false;
                    self.job_ended(outcome)?;
                }
                // Completes at once if an epoch has ended since the last call.
                changed = ended.changed(), if is_running => drop(changed),
                outcome = poll(&mut validating), if validating.is_some() => {
                    validating = None;
                    let (file, validation) = outcome?;
                    self.enter_validated(&file, &validation).await?;
                    if !is_stopped && !progress::goes_on(&self.request.spec, &self.record.epochs) {
                        is_stopped = true;
                        store.stop();
                    }
                }
            }
        }
        let done = self.record.epochs.last().map_or(0, |epoch| epoch.epoch);
        if !is_stopped && done < self.request.spec.training.epochs {
            let reason = format!("the workers ended after {done} of {} epochs", self.request.spec.training.epochs);
            return Err(Error::Job { phase: "training".to_owned(), reason });
        }
        // After an early stop, the remaining checkpoints are not validated.
        self.record.exchange.get_or_insert_default().unvalidated.clear();
        let keep: Vec<&FileRef> = self.record.last.iter().chain(&self.record.best).collect();
        Ok(self.context.store.keep_checkpoints(&self.record.model, &keep).await?)
    }

    fn job_ended(&self, outcome: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
        match outcome {
            Ok(Err(Error::Cancelled { .. })) => Err(self.cancelled()),
            Ok(outcome) => outcome,
            Err(error) => Err(Error::Job { phase: "training".to_owned(), reason: format!("it stopped: {error}") }),
        }
    }

    fn unvalidated(&self) -> &[Unvalidated] {
        self.record.exchange.as_ref().map_or(&[], |exchange| &exchange.unvalidated)
    }

    /// Writes a checkpoint of the current weights, and records the progress of the workers.
    async fn checkpoint_exchange(&mut self, store: &Arc<ParameterStore>) -> Result<()> {
        let started = std::time::Instant::now();
        let taken = Arc::clone(store);
        let taken = tokio::task::spawn_blocking(move || taken.snapshot()).await;
        let failed = |reason: String| Error::Job { phase: "training".to_owned(), reason };
        let (state, record, mut epochs) =
            taken.map_err(|e| failed(e.to_string()))?.map_err(|refusal| failed(refusal.to_string()))?;
        let Some(last) = epochs.last_mut() else { return Ok(()) };
        let file = self.context.store.write_checkpoint(&self.record.model, last.epoch, &state).await?;
        last.timing.checkpoint = started.elapsed().as_secs_f64();
        observe(&self.record.model, &record);
        let exchange = self.record.exchange.get_or_insert_default();
        let mut unvalidated = std::mem::take(&mut exchange.unvalidated);
        unvalidated.push(Unvalidated { epochs, file: file.clone() });
        *exchange = ExchangeRecord { unvalidated, ..record };
        self.record.last = Some(file);
        self.context.store.write_run(&self.record).await?;
        Ok(())
    }

    /// Returns the validation of the oldest checkpoint that waits for it.
    fn next_validation(&self) -> Option<Validating> {
        let Unvalidated { epochs, file } = self.unvalidated().first()?.clone();
        let epoch = epochs.last().map_or(0, |tally| tally.epoch);
        let run = self.clone();
        Some(async move { run.validate(epoch, &file).await.map(|validation| (file, validation)) }.boxed())
    }

    /// Records the epochs of the oldest checkpoint.
    async fn enter_validated(&mut self, file: &FileRef, validation: &Validation) -> Result<()> {
        while let Some(tally) = self.take_unvalidated(file) {
            self.enter(tally, file.clone(), validation, None).await?;
        }
        Ok(())
    }

    /// Removes and returns the next epoch of the oldest checkpoint. Removes the checkpoint after its last epoch.
    fn take_unvalidated(&mut self, file: &FileRef) -> Option<EpochTally> {
        let waiting = &mut self.record.exchange.as_mut()?.unvalidated;
        let oldest = waiting.first_mut().filter(|oldest| oldest.file == *file)?;
        let tally = (!oldest.epochs.is_empty()).then(|| oldest.epochs.remove(0));
        if oldest.epochs.is_empty() {
            waiting.remove(0);
        }
        tally
    }
}

/// Updates the metrics of staleness.
fn observe(model: &ModelName, record: &ExchangeRecord) {
    let staleness = record.staleness();
    metrics::STALENESS.with_label_values(&[model.as_str(), "mean"]).set(staleness.mean().unwrap_or(0.0));
    metrics::STALENESS.with_label_values(&[model.as_str(), "max"]).set(staleness.max as f64);
}

/// Waits for the active validation. Waits forever if there is none.
async fn poll(validating: &mut Option<Validating>) -> Result<(FileRef, Validation)> {
    match validating {
        Some(validating) => validating.await,
        None => std::future::pending().await,
    }
}
