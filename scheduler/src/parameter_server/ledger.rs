//! The progress of the workers: a pure state machine that decides which push counts, exactly once.
//!
//! A worker's pushes are numbered from 1 over the whole run. A push counts if it is the worker's next; one that counted
//! already is acknowledged and not applied again, whoever sends it: a client that lost the acknowledgement, or another try of the
//! worker's task. A try that was superseded may not push at all.

use std::collections::BTreeMap;

use tusk_core::manifest::{EpochTally, ExchangeRecord, WorkerExchange};
use tusk_core::protocol::parameters::Push;

use super::Refusal;

#[derive(Clone, Copy, Debug, Default)]
struct Worker {
    /// The try of its task that may push.
    attempt: Option<u64>,
    exchange: WorkerExchange,
}

/// What is to be done with a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is the worker's next.
    Next,
    /// It was applied already.
    Repeated,
}

/// How far the workers of a run are.
#[derive(Debug)]
pub(super) struct Ledger {
    workers: Vec<Worker>,
    /// Workers that have rows; the others never push.
    active: u32,
    epochs: u32,
    version: u64,
    stop: bool,
    open: BTreeMap<u32, EpochTally>,
    /// Epochs that have ended for all workers and were not taken yet.
    ended: Vec<EpochTally>,
    /// When the last epoch ended, in seconds since the ledger was opened.
    last_end: f64,
}

impl Ledger {
    /// The ledger of a run of `epochs`, whose workers are as far as `record` says. `has_rows` says it of each worker.
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

    /// From now on, every response tells the worker to stop.
    pub(super) fn stop(&mut self) {
        self.stop = true;
    }

    fn worker(&mut self, worker: u32) -> Result<&mut Worker, Refusal> {
        let workers = self.workers.len();
        self.workers.get_mut(worker as usize).ok_or(Refusal::UnknownWorker { worker, workers })
    }

    /// Begins another try of a worker's task; the tries before are over. Gives the worker's last push that counted.
    pub(super) fn join(&mut self, worker: u32, attempt: u64) -> Result<u64, Refusal> {
        let found = self.worker(worker)?;
        found.attempt = Some(attempt);
        Ok(found.exchange.step)
    }

    /// The last push that counted of a worker whose current try this is.
    pub(super) fn step_of(&mut self, worker: u32, attempt: u64) -> Result<u64, Refusal> {
        let found = self.worker(worker)?;
        if found.attempt == Some(attempt) { Ok(found.exchange.step) } else { Err(Refusal::Superseded { worker }) }
    }

    /// Whether a push counts. Changes nothing.
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

    /// Enters a push that is admitted, at `clock` seconds since the ledger was opened. Gives its staleness.
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

    /// Whether an epoch has ended that was not taken yet.
    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The epochs that have ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<EpochTally> {
        std::mem::take(&mut self.ended)
    }

    /// How far the workers are, for the checkpoint.
    pub(super) fn record(&self) -> ExchangeRecord {
        ExchangeRecord {
            workers: self.workers.iter().map(|worker| worker.exchange).collect(),
            open: self.open.values().copied().collect(),
            unvalidated: Vec::new(),
        }
    }
}
