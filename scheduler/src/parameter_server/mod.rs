//! The parameter server. The workers of asynchronous and hogwild runs pull weights from it and push what they learned
//! to it.
//!
//! * `ledger`: the progress of the workers, which pushes are applied, and how stale they are, as a pure state machine
//! * `store`: the weights of one run, and how a push changes them
//! * `incoming`: receives a push piece by piece, and refuses it at its first error
//! * `flight`: the service over Arrow Flight
//!
//! Memory is bounded. It holds the weights once, and once more for each active push, of which there are at most
//! [`OPEN_PUSHES_MAX`]. A pull shares the weights until a push replaces them.

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

/// Maximum number of active pushes of a run. Further pushes wait.
pub(crate) const OPEN_PUSHES_MAX: usize = 4;

/// Maximum number of active pulls of a run. Further pulls wait.
pub(crate) const OPEN_PULLS_MAX: usize = 64;

/// Maximum bytes of the weights of one run.
pub(crate) const MODEL_BYTES_MAX: usize = 8 << 30;

/// Maximum number of tensors of one run.
pub(crate) const TENSORS_MAX: u32 = 65_536;

/// Why a pull or a push was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The run is not active, or the task was started before a restart of the run.
    #[error("run {run} is not active here, or its task was started before a restart")]
    UnknownRun {
        /// The requested run.
        run: String,
    },
    /// The run does not have this worker.
    #[error("the run has {workers} workers; there is no worker {worker}")]
    UnknownWorker {
        /// The requested worker.
        worker: u32,
        /// The number of workers.
        workers: usize,
    },
    /// The worker's task was started again elsewhere.
    #[error("worker {worker} was started again elsewhere; this attempt of its task is over")]
    Superseded {
        /// The worker.
        worker: u32,
    },
    /// A push that is not the worker's next push.
    #[error("worker {worker} pushed {found}; expected {expected}")]
    OutOfOrder {
        /// The worker.
        worker: u32,
        /// What was pushed.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A message that cannot be read.
    #[error("a {what} cannot be read: {reason}. Run the same version of Tusk on every node")]
    Malformed {
        /// The kind of message.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that would damage the weights.
    #[error("the push of worker {worker} is refused: {reason}")]
    Values {
        /// The worker.
        worker: u32,
        /// The value, and what to do.
        reason: String,
    },
    /// Too many requests at a time. The worker retries.
    #[error("the parameter server is busy: {reason}")]
    Busy {
        /// The kind of requests.
        reason: &'static str,
    },
}

/// The parameter stores of the active runs of this process, by run. Cheap to clone. The Flight service of the scheduler
/// passes pulls and pushes to it.
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

    /// Returns the progress and staleness of the workers of a run. Empty if the run is not active.
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
