//! Training without a cluster: the runs and their tasks are in this process.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use tusk_core::event::SharedProgress;
use tusk_core::protocol::ExecutorReport;
use tusk_core::protocol::parameters::ParameterServer;
use tusk_core::store::ModelStore;
use tusk_process::threads::Threads;
use tusk_udfs::session::physical_codec;

use crate::error::Result;
use crate::executors::Executors;
use crate::parameter_server::ParameterStores;
use crate::run::active::ActiveRuns;
use crate::run::job_runner::local::LocalRunner;
use crate::service::{ServiceSettings, TrainingService};

/// What the training engine of this process needs to know of its runs, before there is a service.
#[derive(Debug, Default)]
pub struct LocalRuns {
    active: Arc<ActiveRuns>,
    parameters: ParameterStores,
}

/// The settings of a training service without a cluster.
pub struct LocalSettings {
    /// The model store.
    pub store: ModelStore,
    /// The number of threads that run tasks. Queries have others, so that neither waits for the other.
    pub threads: usize,
    /// The context of tasks, with the training engine as an extension.
    pub context: Arc<TaskContext>,
    /// The number of workers that the engine trains at a time.
    pub workers: usize,
    /// Returns the current state of the engine. Its progress may be empty.
    pub report: Box<dyn Fn() -> ExecutorReport + Send + Sync>,
}

impl LocalRuns {
    /// Receives the progress of tasks.
    #[must_use]
    pub fn progress(&self) -> SharedProgress {
        Arc::clone(&self.active) as SharedProgress
    }

    /// The parameter server of asynchronous and hogwild runs.
    #[must_use]
    pub fn parameter_server(&self) -> Arc<dyn ParameterServer> {
        Arc::new(self.parameters.clone())
    }

    /// Starts the service that trains in this process.
    ///
    /// # Errors
    /// Returns an error if the system cannot start the threads.
    pub fn service(self, settings: LocalSettings) -> Result<TrainingService> {
        let LocalSettings { store, threads, context, workers, report } = settings;
        let threads = Threads::start("tusk-task", threads).map_err(DataFusionError::IoError)?;
        Ok(TrainingService::new(ServiceSettings {
            jobs: Arc::new(LocalRunner::new(threads, context, workers)),
            store,
            codec: physical_codec(),
            executors: Arc::new(Executors::here(report)),
            threads: 1,
            parameters: self.parameters,
            active: self.active,
        }))
    }
}
