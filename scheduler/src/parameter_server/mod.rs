//! The parameter server: where the workers of asynchronous and hogwild runs pull weights from and push what they
//! learned to.
//!
//! * `ledger`: a pure state machine: the progress of the workers, which push counts, and how stale it is
//! * `store`: the weights of one run, and how a push changes them
//! * `incoming`: a push as its pieces arrive, refused as soon as something is wrong with it
//! * `flight`: the service over Arrow Flight
//!
//! Memory is bounded: the weights once, and once more for each of the at most [`OPEN_PUSHES_MAX`] pushes that are under
//! way. A pull shares the weights until a push replaces them.

mod flight;
#[cfg(test)]
mod flight_tests;
mod incoming;
mod ledger;
#[cfg(test)]
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tusk_core::ids::RunId;
use tusk_core::manifest::WorkerExchange;
use tusk_core::protocol::parameters::SessionKey;

pub(crate) use store::{ExchangeSettings, ParameterStore};

/// Pushes of a run that may be under way at a time; more wait.
pub(crate) const OPEN_PUSHES_MAX: usize = 4;

/// Pulls of a run that may be under way at a time; more wait.
pub(crate) const OPEN_PULLS_MAX: usize = 64;

/// The most bytes of weights of one run.
pub(crate) const MODEL_BYTES_MAX: usize = 8 << 30;

/// The most tensors of one run.
pub(crate) const TENSORS_MAX: u32 = 65_536;

/// Why a pull or a push was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The run is over, of a life before a restart, or never was.
    #[error("no run {run} exchanges weights here, or its task is of before a restart")]
    UnknownRun {
        /// As asked for.
        run: String,
    },
    /// A worker that the run does not have.
    #[error("the run has {workers} workers and none is number {worker}")]
    UnknownWorker {
        /// As asked for.
        worker: u32,
        /// How many there are.
        workers: usize,
    },
    /// The worker's task was started again elsewhere.
    #[error("worker {worker} was started again elsewhere; this try of its task is over")]
    Superseded {
        /// The worker.
        worker: u32,
    },
    /// A push that is not the worker's next.
    #[error("worker {worker} pushed {found}, the next is {expected}")]
    OutOfOrder {
        /// The worker.
        worker: u32,
        /// What came.
        found: String,
        /// What should have.
        expected: String,
    },
    /// A message that is none.
    #[error("a {what} cannot be read: {reason}. Run the same version of Tusk on every node")]
    Malformed {
        /// What kind of message.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that would spoil the weights.
    #[error("the push of worker {worker} is refused: {reason}")]
    Values {
        /// The worker.
        worker: u32,
        /// Which value, and what to do.
        reason: String,
    },
    /// Too much at a time. The worker tries again.
    #[error("the parameter server is busy: {reason}")]
    Busy {
        /// With what.
        reason: &'static str,
    },
}

/// The parameter stores of the active runs of this process, by run. Cheap to clone. The Flight service of the scheduler passes
/// pulls and pushes to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterStores {
    runs: Arc<Mutex<HashMap<RunId, Arc<ParameterStore>>>>,
}

impl ParameterStores {
    fn find(&self, run: &RunId, session: &SessionKey) -> Result<Arc<ParameterStore>, Refusal> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = runs.get(run).filter(|store| store.session() == session);
        found.map(Arc::clone).ok_or_else(|| Refusal::UnknownRun { run: run.to_string() })
    }

    /// The progress and staleness of the workers of an active run. Empty if the run is not active.
    pub(crate) fn workers(&self, run: &RunId) -> Vec<WorkerExchange> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(run).map_or_else(Vec::new, |store| store.record().workers)
    }

    /// Opens the exchange of a run. It ends when the returned value is dropped.
    pub(crate) fn open(&self, run: &RunId, settings: ExchangeSettings) -> Exchange {
        let store = Arc::new(ParameterStore::new(settings));
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone(), Arc::clone(&store));
        Exchange { stores: self.clone(), run: run.clone(), store }
    }
}

/// The exchange of an active run.
#[derive(Debug)]
pub(crate) struct Exchange {
    stores: ParameterStores,
    run: RunId,
    pub(crate) store: Arc<ParameterStore>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut runs = self.stores.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // A run that was opened again has another store under the same id.
        if runs.get(&self.run).is_some_and(|store| Arc::ptr_eq(store, &self.store)) {
            runs.remove(&self.run);
        }
    }
}
