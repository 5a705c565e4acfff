//! The methods of a context with the feature `embedded`: the embedded engine, and DataFrames.

use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use tusk_core::engine::Predictor;
use tusk_core::event::OnEvent;
use tusk_core::store::{ModelStore, table_runtime};
use tusk_executor::{CacheLimits, Identity, Plugin, PluginSettings, TorchPredictor};
use tusk_scheduler::{LocalRuns, LocalSettings, Queries, Session, SessionSettings, Training, TrainingService};
use tusk_udfs::session::{local_config, physical_codec};

use crate::context::{Cluster, ContextOptions, TuskContext};
use crate::error::{Result, Results};

impl TuskContext {
    /// A context that runs everything in this process, with the options of [`ContextOptions::from_env`].
    ///
    /// # Errors
    /// When an environment variable is invalid, or the store cannot be opened.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_with(ContextOptions::from_env()?).await
    }

    /// A context that runs everything in this process: queries in DataFusion, and training on its threads. It opens no port.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn embedded_with(options: ContextOptions) -> Result<Self> {
        let ContextOptions { store, threads, cache, memory, on_event, .. } = options;
        let store = ModelStore::open(&store)?;
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store.clone(), threads));
        let runtime = memory.apply(table_runtime(), "this process").build_arc()?;
        let training = engine(threads, cache, &runtime, store, &predictor)?;
        let session = Session::open(SessionSettings {
            queries: Queries::Here,
            config: local_config().with_target_partitions(threads),
            runtime,
            predictor,
            training: Some(training.clone()),
            on_event: on_event.clone(),
            tables: None,
            url_tables: true,
            may_train: true,
        });
        Ok(Self { session: session.await?, cluster: Cluster::Embedded(training), on_event })
    }

    /// A context of parts that a program has put together, such as a session whose queries run on a cluster of its own.
    #[doc(hidden)]
    #[must_use]
    pub fn from_parts(session: Session, training: TrainingService, on_event: Option<OnEvent>) -> Self {
        Self { session, cluster: Cluster::Embedded(training), on_event }
    }

    /// A query as a DataFrame.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        Ok(self.session.query(sql).await?)
    }

    /// A Parquet file or folder as a DataFrame.
    ///
    /// # Errors
    /// When the file or folder cannot be read.
    pub async fn read_parquet(&self, path: &str) -> Result<DataFrame> {
        Ok(self.session.read_parquet(path).await?)
    }

    /// A folder of images as a DataFrame with the columns path, image, label, width, height, format.
    ///
    /// # Errors
    /// When the location is not a folder.
    pub fn read_images(&self, location: &str) -> Result<DataFrame> {
        Ok(self.session.read_images(location)?)
    }

    /// The DataFusion session. Its queries run in this process, or on the remote cluster.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        self.session.queries()
    }

    /// The model store of the embedded engine. `None` on a remote cluster.
    #[must_use]
    pub fn store(&self) -> Option<&ModelStore> {
        match &self.cluster {
            Cluster::Embedded(training) => Some(training.store()),
            Cluster::Remote(_) => None,
        }
    }

    /// The session that plans statements in this process.
    pub(crate) fn planner(&self) -> &Session {
        &self.session
    }

    /// Starts a run. The result has one row per epoch.
    pub(crate) async fn train(&self, training: &Training) -> Result<Results> {
        let request = training.request(&self.session).await?;
        let on_event = self.on_event.clone();
        match &self.cluster {
            Cluster::Embedded(training) => Ok(training.start_watched(request, on_event).await?.failing_with()),
            Cluster::Remote(remote) => {
                let bytes = request.encode(physical_codec().as_ref())?;
                remote.train(request.name, bytes, on_event).await
            }
        }
    }
}

/// Starts the training engine of this process. Returns the service that trains with it.
fn engine(
    threads: usize,
    cache: CacheLimits,
    runtime: &Arc<RuntimeEnv>,
    store: ModelStore,
    predictor: &Arc<dyn Predictor>,
) -> Result<TrainingService> {
    let runs = LocalRuns::default();
    let settings = PluginSettings { cache, threads, ..PluginSettings::default() };
    let plugin = Plugin::with(&settings, predictor, Some(Arc::clone(runtime)), runs.progress());
    let plugin = plugin.map_err(DataFusionError::from)?;
    plugin.set_parameter_server(runs.parameter_server());
    let identity = Identity { executor_id: uuid::Uuid::new_v4().to_string(), host: "localhost".to_owned() };
    let service = runs.service(LocalSettings {
        store,
        threads,
        context: plugin.task_context(),
        workers: plugin.workers(),
        report: Box::new(move || {
            let mut report = plugin.report(&identity);
            // It goes to the runs directly.
            report.progress.clear();
            report
        }),
    });
    Ok(service?)
}
