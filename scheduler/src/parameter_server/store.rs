//! The weights of one run, and how a push changes them.
//!
//! A worker's **share** is its fraction of the training rows. A push has these effects:
//!
//! * **Learned tensors** move by share x difference. The pushes of all workers in an epoch therefore add up to the mean
//!   of what they learned, weighted by rows, however often they push. Plain sums would add up to a multiple of it.
//! * **BatchNorm's running statistics** move towards the worker's by its share: (1 - share) x ours + share x theirs. A
//!   mixture of variances is a variance. A sum of their differences can become negative, as it does in Elephas, which
//!   adds them.
//! * **Optimizer moments** stay with the worker, because they belong to its own gradients. After a task is moved or a
//!   run is resumed, the worker begins with new moments.
//!
//! In `asynchronous` mode there is one push or pull at a time, so that every version contains only complete pushes.
//! In `hogwild` mode there is a lock per tensor and no lock for all tensors. Concurrent pushes are mixed, and a pull
//! may see a push in some tensors and not in others (Niu et al. 2011, arXiv 1106.5730). The lock replaces the atomic
//! additions of that paper, so that no addition is lost. In both modes, the progress of the workers is updated by one
//! push at a time, and a snapshot contains exactly the pushes that its progress counts: it waits for active pushes, and
//! they wait for it. Otherwise a resumed run would skip a push whose weights the checkpoint lacks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::{Semaphore, watch};
use tusk_core::manifest::{EpochTally, ExchangeRecord};
use tusk_core::protocol::parameters::{Pull, Pulled, PulledWeights, Push, PushKind, Pushed, SessionKey};
use tusk_core::state::{ModelState, NamedTensor, is_running_statistic};

use super::ledger::{Admission, Ledger};
use super::{OPEN_PULLS_MAX, OPEN_PUSHES_MAX, Refusal};

/// The settings of a run's exchange.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeSettings {
    /// Whether there is one push or pull at a time.
    pub(crate) is_exclusive: bool,
    /// The secret of the run's tasks.
    pub(crate) session: SessionKey,
    /// The number of epochs.
    pub(crate) epochs: u32,
    /// The number of training rows of each worker.
    pub(crate) rows: Vec<u64>,
    /// The progress of the workers.
    pub(crate) record: ExchangeRecord,
}

/// A tensor of a pull.
#[derive(Clone, Debug)]
pub(crate) struct SharedTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Arc<Vec<f32>>,
}

#[derive(Debug)]
struct Slot {
    shape: Vec<usize>,
    data: Mutex<Arc<Vec<f32>>>,
}

/// The weights of a run and the progress of its workers.
#[derive(Debug)]
pub(crate) struct ParameterStore {
    session: SessionKey,
    is_exclusive: bool,
    shares: Vec<f64>,
    opened: Instant,
    ledger: Mutex<Ledger>,
    slots: OnceLock<BTreeMap<String, Slot>>,
    /// Excludes a snapshot from pushes, and pushes and pulls from each other if there is one at a time.
    turn: RwLock<()>,
    ended: watch::Sender<()>,
    pub(super) pushes: Arc<Semaphore>,
    pub(super) pulls: Arc<Semaphore>,
}

/// The turn of a push or a pull. It is held until the value is dropped.
enum Turn<'a> {
    Alone { _guard: RwLockWriteGuard<'a, ()> },
    Shared { _guard: RwLockReadGuard<'a, ()> },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ParameterStore {
    pub(crate) fn new(settings: ExchangeSettings) -> Self {
        let total: u64 = settings.rows.iter().sum();
        let has_rows: Vec<bool> = settings.rows.iter().map(|rows| *rows > 0).collect();
        Self {
            session: settings.session,
            is_exclusive: settings.is_exclusive,
            shares: settings.rows.iter().map(|rows| *rows as f64 / total.max(1) as f64).collect(),
            opened: Instant::now(),
            ledger: Mutex::new(Ledger::new(&has_rows, settings.epochs, &settings.record)),
            slots: OnceLock::new(),
            turn: RwLock::new(()),
            ended: watch::channel(()).0,
            pushes: Arc::new(Semaphore::new(OPEN_PUSHES_MAX)),
            pulls: Arc::new(Semaphore::new(OPEN_PULLS_MAX)),
        }
    }

    pub(crate) fn session(&self) -> &SessionKey {
        &self.session
    }

    fn turn_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turn.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Turn<'_> {
        match self.is_exclusive {
            true => Turn::Alone { _guard: self.turn_alone() },
            false => Turn::Shared { _guard: self.turn.read().unwrap_or_else(PoisonError::into_inner) },
        }
    }

    /// Returns the shape of a tensor, or `None` if there is no tensor of this name.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.slots.get()?.get(name).map(|slot| slot.shape.as_slice())
    }

    /// Returns the number of tensors. It is 0 before the start push.
    pub(super) fn tensors(&self) -> usize {
        self.slots.get().map_or(0, BTreeMap::len)
    }

    /// Handles a pull. `attempt` is the number of a new attempt, if the worker requests one.
    pub(super) fn pull(&self, pull: &Pull, attempt: u64) -> Result<(Pulled, Vec<SharedTensor>), Refusal> {
        let _turn = self.turn();
        let (attempt, step, version, stop) = {
            let mut ledger = lock(&self.ledger);
            let (attempt, step) = match pull.attempt {
                None => (attempt, ledger.join(pull.worker.0, attempt)?),
                Some(attempt) => (attempt, ledger.step_of(pull.worker.0, attempt)?),
            };
            (attempt, step, ledger.version(), ledger.is_stopped())
        };
        let (weights, tensors) = match self.slots.get() {
            None => (PulledWeights::Missing, Vec::new()),
            Some(_) if pull.have_version == Some(version) || stop => (PulledWeights::Unchanged, Vec::new()),
            Some(slots) => {
                let tensors: Vec<SharedTensor> = slots.iter().map(|(name, slot)| slot.shared(name)).collect();
                (PulledWeights::Follow(u32::try_from(tensors.len()).unwrap_or(u32::MAX)), tensors)
            }
        };
        Ok((Pulled { attempt, version, step, stop, weights }, tensors))
    }

    /// Returns the response to a repeated push, before its tensors are read. Returns `None` if the push is new.
    pub(super) fn acknowledge_repeated(&self, push: &Push) -> Result<Option<Pushed>, Refusal> {
        let mut ledger = lock(&self.ledger);
        let step = ledger.step_of(push.worker.0, push.attempt)?;
        let known = match push.kind {
            PushKind::Start => self.slots.get().is_some(),
            PushKind::Update => ledger.admit(push)? == Admission::Repeated,
        };
        let pushed = Pushed { applied: false, version: ledger.version(), step, stop: ledger.is_stopped() };
        Ok(known.then_some(pushed))
    }

    /// Applies a push whose tensors are checked.
    pub(super) fn push(&self, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed, Refusal> {
        let pushed = match push.kind {
            PushKind::Start => self.start(push, tensors),
            PushKind::Update => self.update(push, &tensors),
        }?;
        if lock(&self.ledger).has_ended() {
            self.ended.send_replace(());
        }
        Ok(pushed)
    }

    fn start(&self, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed, Refusal> {
        let mut ledger = lock(&self.ledger);
        let step = ledger.step_of(push.worker.0, push.attempt)?;
        let slot =
            |tensor: NamedTensor| (tensor.name, Slot { shape: tensor.shape, data: Mutex::new(Arc::new(tensor.data)) });
        let applied = self.slots.set(tensors.into_iter().map(slot).collect()).is_ok();
        Ok(Pushed { applied, version: ledger.version(), step, stop: ledger.is_stopped() })
    }

    fn update(&self, push: &Push, tensors: &[NamedTensor]) -> Result<Pushed, Refusal> {
        let worker = push.worker.0;
        let Some(slots) = self.slots.get() else {
            let (found, expected) = ("an update".to_owned(), "the starting weights".to_owned());
            return Err(Refusal::OutOfOrder { worker, found, expected });
        };
        let share = self.shares.get(worker as usize).copied().unwrap_or(0.0);
        let _turn = self.turn();
        let pushed = {
            let mut ledger = lock(&self.ledger);
            // Checked again, because another attempt may have pushed the same step while the tensors arrived.
            let applied = ledger.admit(push)? == Admission::Next;
            if applied {
                let staleness = ledger.enter(push, self.opened.elapsed().as_secs_f64())?;
                tracing::trace!(worker, push.step, staleness, "push");
            }
            let step = ledger.step_of(worker, push.attempt)?;
            Pushed { applied, version: ledger.version(), step, stop: ledger.is_stopped() }
        };
        if pushed.applied {
            for tensor in tensors {
                if let Some(slot) = slots.get(&tensor.name) {
                    slot.apply(tensor, share);
                }
            }
        }
        Ok(pushed)
    }

    /// Returns the current weights, the progress of the workers, and the epochs that have ended since the last call.
    ///
    /// # Errors
    /// [`Refusal::Values`] if a weight is NaN or infinite.
    pub(crate) fn snapshot(&self) -> Result<(ModelState, ExchangeRecord, Vec<EpochTally>), Refusal> {
        let _turn = self.turn_alone();
        let (record, ended) = {
            let mut ledger = lock(&self.ledger);
            (ledger.record(), ledger.take_ended())
        };
        let mut tensors = Vec::new();
        for (name, slot) in self.slots.get().into_iter().flatten() {
            let SharedTensor { name, shape, data } = slot.shared(name);
            if let Some(bad) = data.iter().position(|value| !value.is_finite()) {
                let reason = format!("value {bad} of {name} has become {}; lower the learning rate", data[bad]);
                return Err(Refusal::Values { worker: 0, reason });
            }
            tensors.push(NamedTensor { name, shape, data: data.to_vec() });
        }
        Ok((ModelState::new(tensors), record, ended))
    }

    /// Returns the progress of the workers.
    pub(crate) fn record(&self) -> ExchangeRecord {
        lock(&self.ledger).record()
    }

    /// Returns whether an epoch has ended that no snapshot has taken yet.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.ledger).has_ended()
    }

    /// Returns a receiver that is notified whenever an epoch ends.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    /// Tells every worker to stop at its next pull or push.
    pub(crate) fn stop(&self) {
        lock(&self.ledger).stop();
    }
}

impl Slot {
    fn shared(&self, name: &str) -> SharedTensor {
        SharedTensor { name: name.to_owned(), shape: self.shape.clone(), data: Arc::clone(&lock(&self.data)) }
    }

    fn apply(&self, tensor: &NamedTensor, share: f64) {
        let mut data = lock(&self.data);
        // Copies the values only if a pull still reads the previous version.
        let values = Arc::make_mut(&mut data).iter_mut().zip(&tensor.data);
        if is_running_statistic(&tensor.name) {
            values.for_each(|(ours, theirs)| {
                *ours = ((1.0 - share) * f64::from(*ours) + share * f64::from(*theirs)) as f32;
            });
        } else {
            values.for_each(|(ours, step)| *ours = (f64::from(*ours) + share * f64::from(*step)) as f32);
        }
    }
}
