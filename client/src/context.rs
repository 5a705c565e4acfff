//! [`TuskContext`]: SQL, tables and models on an embedded or a remote cluster.

use std::path::PathBuf;
use std::sync::Arc;

use ballista::extension::SessionContextExt;
use datafusion::dataframe::DataFrame;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use tempfile::TempDir;
use tusk_core::engine::Predictor;
use tusk_core::event::RunEvent;
use tusk_core::sql::{Statement, parse};
use tusk_core::store::ModelStore;
use tusk_executor::{CacheLimits, TorchPredictor};
use tusk_scheduler::{ActiveRuns, ServiceSettings, TrainingService};
use tusk_udfs::images_table::ImagesTable;
use tusk_udfs::session::{aggregate_functions, physical_codec, scalar_functions, session_builder, session_config};

use crate::cluster::{EmbeddedCluster, MESSAGE_BYTES_MAX};
use crate::error::Result;
use crate::results::Results;
use crate::{model_statements, tables};

/// Called with everything that happens in the runs of a context.
pub type OnEvent = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// How a context is set up.
#[derive(Clone)]
pub struct ContextOptions {
    /// Where models are kept: a path or a URL.
    pub store: String,
    /// Threads of a worker, and tasks at a time of the embedded executor.
    pub threads: usize,
    /// What decoded images may use, in the embedded executor.
    pub cache: CacheLimits,
    /// Called with everything that happens in runs.
    pub on_event: Option<OnEvent>,
}

impl Default for ContextOptions {
    /// The store `./tusk-store` (or `TUSK_STORE`) and all processors.
    fn default() -> Self {
        Self {
            store: std::env::var("TUSK_STORE").unwrap_or_else(|_| "tusk-store".to_owned()),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cache: CacheLimits::default(),
            on_event: None,
        }
    }
}

impl std::fmt::Debug for ContextOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextOptions")
            .field("store", &self.store)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Where users begin: a session with its tables, a cluster that runs its queries, and a model store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TuskContext {
    inner: Arc<Inner>,
}

struct Inner {
    /// Plans, and runs what cannot travel. Shares its catalog with `distributed`.
    local: SessionContext,
    /// Runs on the cluster.
    distributed: SessionContext,
    training: TrainingService,
    predictor: Arc<dyn Predictor>,
    on_event: Option<OnEvent>,
    /// Tables made by CREATE TABLE.
    folder: TempDir,
    cluster: Option<EmbeddedCluster>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("training", &self.training).finish_non_exhaustive()
    }
}

impl TuskContext {
    /// A context on a cluster of its own in this process, with the default options.
    ///
    /// # Errors
    /// When the store cannot be opened or no port of the loopback interface is free.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_with(ContextOptions::default()).await
    }

    /// A context on a cluster of its own in this process.
    ///
    /// # Errors
    /// When the store cannot be opened or no port of the loopback interface is free.
    pub async fn embedded_with(options: ContextOptions) -> Result<Self> {
        let store = ModelStore::open(&options.store)?;
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store.clone(), options.threads));
        let active = Arc::new(ActiveRuns::default());
        let runtime = Arc::<RuntimeEnv>::default();
        let progress = Arc::clone(&active);
        let cache = options.cache.clone();
        let cluster =
            EmbeddedCluster::start(options.threads, cache, Arc::clone(&runtime), &predictor, progress).await?;
        let url = cluster.scheduler_url();
        Self::build(&url, options, store, predictor, active, runtime, Some(cluster)).await
    }

    /// A context on the cluster whose scheduler listens at `url` (`df://host:50050`), with the default options.
    ///
    /// # Errors
    /// When the store cannot be opened or the scheduler does not answer.
    pub async fn remote(url: &str) -> Result<Self> {
        Self::remote_with(url, ContextOptions::default()).await
    }

    /// A context on the cluster whose scheduler listens at `url`. Its executors carry Tusk and reach the same store.
    ///
    /// # Errors
    /// When the store cannot be opened or the scheduler does not answer.
    pub async fn remote_with(url: &str, options: ContextOptions) -> Result<Self> {
        let store = ModelStore::open(&options.store)?;
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store.clone(), options.threads));
        Self::build(url, options, store, predictor, Arc::default(), Arc::default(), None).await
    }

    async fn build(
        url: &str,
        options: ContextOptions,
        store: ModelStore,
        predictor: Arc<dyn Predictor>,
        active: Arc<ActiveRuns>,
        runtime: Arc<RuntimeEnv>,
        cluster: Option<EmbeddedCluster>,
    ) -> Result<Self> {
        let threads = u32::try_from(options.threads).unwrap_or(u32::MAX);
        let training = ServiceSettings {
            scheduler_url: url.to_owned(),
            store,
            codec: physical_codec(),
            workers: 1,
            threads,
            message_bytes_max: MESSAGE_BYTES_MAX,
        };
        let training = TrainingService::connect(training, active).await?;
        let config = session_config().with_target_partitions(options.threads);
        let local = session_builder(config, runtime, &predictor).build();
        let local = SessionContext::new_with_state(local).enable_url_table();
        let distributed = SessionContext::remote_with_state(url, local.state()).await?;
        // Becoming Ballista's, the session lost our functions.
        scalar_functions(&predictor).iter().for_each(|f| distributed.register_udf(f.as_ref().clone()));
        aggregate_functions().iter().for_each(|f| distributed.register_udaf(f.as_ref().clone()));
        let folder = tempfile::Builder::new().prefix("tusk-tables-").tempdir().map_err(tables::io_error)?;
        let on_event = options.on_event;
        let inner = Inner { local, distributed, training, predictor, on_event, folder, cluster };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// When it does not parse (with line and column), plan or start; or when there is more than one.
    pub async fn sql(&self, sql: &str) -> Result<Results> {
        let mut statements = parse(sql)?;
        match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => self.execute(statement).await,
            (found, _) => Err(tusk_core::Error::Syntax {
                message: format!("expected one statement, found {}", statements.len() + usize::from(found.is_some())),
                line: 1,
                column: 1,
            }
            .into()),
        }
    }

    /// Runs a parsed statement.
    ///
    /// # Errors
    /// When it cannot be planned or started.
    pub async fn execute(&self, statement: Statement) -> Result<Results> {
        match statement {
            Statement::Model(statement) => model_statements::execute(self, statement).await,
            Statement::DataFusion(statement) => {
                let plan = self.inner.local.state().statement_to_plan(*statement).await?;
                tables::execute(self, plan).await
            }
        }
    }

    /// A query as a DataFrame that runs on the cluster.
    ///
    /// # Errors
    /// When it cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        let plan = self.inner.local.state().create_logical_plan(sql).await?;
        Ok(self.data_frame(plan))
    }

    /// A Parquet file or folder as a DataFrame.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read_parquet(&self, path: &str) -> Result<DataFrame> {
        let frame = self.inner.local.read_parquet(path, ParquetReadOptions::default()).await?;
        Ok(self.data_frame(frame.into_unoptimized_plan()))
    }

    /// A folder of images as a DataFrame with the columns path, image, label, width, height, format.
    ///
    /// # Errors
    /// When the location is no folder.
    pub fn read_images(&self, location: &str) -> Result<DataFrame> {
        let frame = self.inner.local.read_table(Arc::new(ImagesTable::try_new(location)?))?;
        Ok(self.data_frame(frame.into_unoptimized_plan()))
    }

    /// Where the scheduler of the embedded cluster listens, as `http://host:port`: other contexts of this machine may
    /// join it with [`Self::remote`]. `None` on a remote cluster.
    #[must_use]
    pub fn scheduler_url(&self) -> Option<String> {
        self.inner.cluster.as_ref().map(EmbeddedCluster::scheduler_url)
    }

    /// DataFusion's session, whose queries run on the cluster.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        &self.inner.distributed
    }

    /// The session that plans, and that runs what cannot travel.
    pub(crate) fn local(&self) -> &SessionContext {
        &self.inner.local
    }

    /// The training service.
    #[must_use]
    pub fn training(&self) -> &TrainingService {
        &self.inner.training
    }

    /// Where models are kept.
    #[must_use]
    pub fn store(&self) -> &ModelStore {
        self.inner.training.store()
    }

    pub(crate) fn predictor(&self) -> &Arc<dyn Predictor> {
        &self.inner.predictor
    }

    pub(crate) fn on_event(&self) -> Option<&OnEvent> {
        self.inner.on_event.as_ref()
    }

    /// The folder of the tables that this session made.
    pub(crate) fn folder(&self) -> PathBuf {
        self.inner.folder.path().to_owned()
    }

    /// A plan as a DataFrame that runs where it can.
    pub(crate) fn data_frame(&self, plan: LogicalPlan) -> DataFrame {
        let session = if tables::can_travel(&plan) { &self.inner.distributed } else { &self.inner.local };
        DataFrame::new(session.state(), plan)
    }
}
