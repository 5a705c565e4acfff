//! The progress of the workers: a pure state machine that decides which pushes are applied, each exactly once.
//!
//! A worker's pushes are numbered from 1 over the whole run. A push is applied if it is the worker's next push. A push
//! that was applied before is acknowledged and not applied again. It is repeated by a client that lost the
//! acknowledgement, or by another attempt of the worker's task. An attempt that was superseded must not push.

use std::collections::BTreeMap;

use tusk_core::manifest::{EpochTally, ExchangeRecord, WorkerExchange};
use tusk_core::protocol::parameters::Push;

use super::Refusal;

#[derive(Clone, Copy, Debug, Default)]
struct Worker {
    /// The attempt of its task that may push.
    attempt: Option<u64>,
    exchange: WorkerExchange,
}

/// What to do with a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is the worker's next push.
    Next,
    /// It was applied before.
    Repeated,
}

/// The progress of the workers of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    workers: Vec<Worker>,
    /// Number of workers that have rows. The others never push.
    active: u32,
    epochs: u32,
    version: u64,
    stop: bool,
    open: BTreeMap<u32, EpochTally>,
    /// Epochs that have ended for all workers and are not taken yet.
    ended: Vec<EpochTally>,
    /// The time at which the last epoch ended, in seconds since the ledger was opened.
    last_end: f64,
}

impl Ledger {
    /// Creates the ledger of a run of `epochs`. The workers continue from `record`. `has_rows` has a value per worker.
    pub(super) fn new(has_rows: &[bool], epochs: u32, record: &ExchangeRecord) -> Self {
        let worker = |index: usize| {
            let exchange = record.workers.get(index).copied().unwrap_or_default();
            Worker { attempt: None, exchange }
        };
        let workers: Vec<Worker> = (0..has_rows.len()).map(worker).collect();
        Self {
            active: has_rows.iter().map(|has| u32::from(*has)).sum(),
            epochs,
            version: workers.iter().map(|worker| worker.exchange.step).sum(),
            stop: false,
            open: record.open.iter().map(|tally| (tally.epoch, *tally)).collect(),
            ended: Vec::new(),
            last_end: 0.0,
            workers,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop
    }

    /// Makes every further response tell the worker to stop.
    pub(super) fn stop(&mut self) {
        self.stop = true;
    }

    fn worker(&mut self, worker: u32) -> Result<&mut Worker, Refusal> {
        let workers = self.workers.len();
        self.workers.get_mut(worker as usize).ok_or(Refusal::UnknownWorker { worker, workers })
    }

    /// Begins a new attempt of a worker's task and ends the earlier ones. Returns the worker's last applied push.
    pub(super) fn join(&mut self, worker: u32, attempt: u64) -> Result<u64, Refusal> {
        let found = self.worker(worker)?;
        found.attempt = Some(attempt);
        Ok(found.exchange.step)
    }

    /// Returns the worker's last applied push. Fails if `attempt` is not the current attempt of its task.
    pub(super) fn step_of(&mut self, worker: u32, attempt: u64) -> Result<u64, Refusal> {
        let found = self.worker(worker)?;
        if found.attempt == Some(attempt) { Ok(found.exchange.step) } else { Err(Refusal::Superseded { worker }) }
    }

    /// Returns whether a push is applied. Changes nothing.
    pub(super) fn admit(&mut self, push: &Push) -> Result<Admission, Refusal> {
        let (worker, epochs) = (push.worker.0, self.epochs);
        let done = self.step_of(worker, push.attempt)?;
        if push.step <= done && push.step > 0 {
            return Ok(Admission::Repeated);
        }
        let refuse = |found: String, expected: String| Err(Refusal::OutOfOrder { worker, found, expected });
        if push.step != done + 1 {
            return refuse(format!("step {}", push.step), format!("step {}", done + 1));
        }
        let epoch = self.worker(worker)?.exchange.epochs + 1;
        if push.epoch != epoch || epoch > epochs {
            return refuse(format!("epoch {}", push.epoch), format!("epoch {epoch} of {epochs}"));
        }
        if push.base_version > self.version {
            return refuse(format!("on version {}", push.base_version), format!("at most version {}", self.version));
        }
        if !(push.loss_sum.is_finite() && push.learning_rate.is_finite()) {
            return Err(Refusal::Values {
                worker,
                reason: format!("its loss is {}; lower the learning rate", push.loss_sum),
            });
        }
        Ok(Admission::Next)
    }

    /// Records an admitted push, at `clock` seconds since the ledger was opened. Returns its staleness.
    pub(super) fn enter(&mut self, push: &Push, clock: f64) -> Result<u64, Refusal> {
        let staleness = self.version.saturating_sub(push.base_version);
        let worker = self.worker(push.worker.0)?;
        worker.exchange.step = push.step;
        worker.exchange.staleness.count(staleness);
        worker.exchange.epochs += u32::from(push.ends_epoch);
        self.version += 1;
        let tally =
            self.open.entry(push.epoch).or_insert_with(|| EpochTally { epoch: push.epoch, ..Default::default() });
        tally.rows = tally.rows.saturating_add(push.rows);
        tally.loss_sum += push.loss_sum;
        tally.learning_rate = push.learning_rate;
        tally.timing += push.timing;
        tally.workers += u32::from(push.ends_epoch);
        // Workers end their epochs in order, so epochs end in order.
        if tally.workers >= self.active
            && let Some(mut tally) = self.open.remove(&push.epoch)
        {
            tally.seconds = clock - self.last_end;
            self.last_end = clock;
            self.ended.push(tally);
        }
        Ok(staleness)
    }

    /// Returns whether an epoch has ended that is not taken yet.
    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Takes the epochs that have ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<EpochTally> {
        std::mem::take(&mut self.ended)
    }

    /// Returns the progress of the workers, for the checkpoint.
    pub(super) fn record(&self) -> ExchangeRecord {
        ExchangeRecord {
            workers: self.workers.iter().map(|worker| worker.exchange).collect(),
            open: self.open.values().copied().collect(),
            unvalidated: Vec::new(),
        }
    }
}
