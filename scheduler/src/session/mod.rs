//! A session: a catalog and settings, and what runs its queries: a cluster, or DataFusion in this process. The statements
//! about models are in `statements`.
//!
//! The scheduler has one session per SQL client. A program without a cluster has its own.

mod ingest;
mod jobs;
mod local;
mod on_threads;
mod parameters;
mod partitions;
mod source;
mod tables;
mod training;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ballista::extension::SessionContextExt;
use datafusion::common::ParamValues;
use datafusion::dataframe::DataFrame;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DataFusionStatement;
use tempfile::TempDir;
use tusk_core::engine::Predictor;
use tusk_core::event::OnEvent;
use tusk_process::threads;
use tusk_udfs::images_table::ImagesTable;
use tusk_udfs::session::{aggregate_functions, scalar_functions, session_builder};

use crate::error::{Error, Result, Results};
use crate::opaque::Opaque;
use crate::service::TrainingService;
use local::LocalPlanner;

pub(crate) use ingest::{IfExists, IfMissing, Ingest};
pub(crate) use parameters::{ParameterRows, insert_of};
pub use source::Rows;
pub(crate) use tables::leftovers;
pub use training::Training;

/// Where the queries of a session run.
#[derive(Clone, Debug)]
pub enum Queries {
    /// On the cluster of the scheduler with this URL, as `http://host:port` or `df://host:port`.
    Cluster(String),
    /// In this process.
    Here,
}

/// The settings of a session.
pub struct SessionSettings {
    /// Where queries run.
    pub queries: Queries,
    /// The initial configuration.
    pub config: SessionConfig,
    /// Object stores and memory.
    pub runtime: Arc<RuntimeEnv>,
    /// Computes the predictions of queries that run in this process.
    pub predictor: Arc<dyn Predictor>,
    /// The training service, if it is in this process.
    pub training: Option<TrainingService>,
    /// Called with the events of runs.
    pub on_event: Option<OnEvent>,
    /// The folder below which the tables of CREATE TABLE are stored. `None` means the system's temporary folder.
    /// Executors on other hosts must see it under the same path.
    pub tables: Option<PathBuf>,
    /// Whether a query may read a file by its path in quotes.
    pub url_tables: bool,
    /// Whether its client may train and change models. If not, EVALUATE keeps no record.
    pub may_train: bool,
}

/// A session. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    inner: Opaque<Inner>,
    /// The values of the parameters of its statements.
    parameters: Option<Arc<ParamValues>>,
}

struct Inner {
    /// Plans statements, and runs plans that cannot be sent to the cluster, on the threads of queries. Shares its catalog
    /// with `distributed`.
    local: SessionContext,
    /// Runs plans on the cluster, if there is one.
    distributed: Option<SessionContext>,
    training: Option<TrainingService>,
    predictor: Arc<dyn Predictor>,
    on_event: Option<OnEvent>,
    may_train: bool,
    /// The folder below which its own folder is created.
    tables: Option<PathBuf>,
    /// The folder of its tables. Created with the first table.
    folder: Mutex<Option<TempDir>>,
}

impl Drop for Inner {
    /// Removes the session's tables, unless a run may still read them. Then a later start of the scheduler removes
    /// them.
    fn drop(&mut self) {
        let is_read = self.training.as_ref().is_some_and(|training| training.active().may_read());
        let folder = self.folder.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(folder) = folder.filter(|_| is_read) {
            let path = folder.keep();
            tracing::info!(folder = %path.display(), "kept the tables of a closed session because a run may read them");
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("training", &self.inner.training).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// Returns an error if the URL of the scheduler is invalid.
    pub async fn open(settings: SessionSettings) -> Result<Self> {
        let SessionSettings { queries, config, runtime, predictor, training, on_event, tables, url_tables, may_train } =
            settings;
        let state = session_builder(config, runtime, &predictor).with_query_planner(Arc::new(LocalPlanner)).build();
        let local = SessionContext::new_with_state(state);
        let local = if url_tables { local.enable_url_table() } else { local };
        let distributed = match queries {
            Queries::Cluster(url) => Some(distributed(&url, &local, &predictor).await?),
            Queries::Here => None,
        };
        let folder = Mutex::new(None);
        let inner = Inner { local, distributed, training, predictor, on_event, may_train, tables, folder };
        Ok(Self { inner: Opaque::new(inner), parameters: None })
    }

    /// Plans a statement of DataFusion with the session's values of its parameters, on the threads of queries.
    ///
    /// # Errors
    /// Returns an error if it cannot be planned.
    pub(crate) async fn plan(&self, statement: DataFusionStatement) -> Result<LogicalPlan> {
        let session = self.clone();
        let planned = async move {
            let plan = session.local().state().statement_to_plan(statement).await?;
            session.bind(plan)
        };
        threads::run(Box::pin(planned)).await?
    }

    /// Runs a planned statement of DataFusion, on the threads of queries. It ends when its rows are dropped.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub async fn execute_plan(&self, plan: LogicalPlan) -> Result<Results> {
        let session = self.clone();
        threads::run(Box::pin(async move { tables::execute(&session, plan).await })).await?
    }

    /// Returns a query as a DataFrame.
    ///
    /// # Errors
    /// Returns an error if the query cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        let plan = self.inner.local.state().create_logical_plan(sql).await?;
        Ok(self.data_frame(plan))
    }

    /// Returns a Parquet file or a folder of Parquet files as a DataFrame.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub async fn read_parquet(&self, path: &str) -> Result<DataFrame> {
        let frame = self.inner.local.read_parquet(path, ParquetReadOptions::default()).await?;
        Ok(self.data_frame(frame.into_unoptimized_plan()))
    }

    /// Returns a folder of images as a DataFrame with the columns path, image, label, width, height, format.
    ///
    /// # Errors
    /// Returns an error if the location is not a folder.
    pub fn read_images(&self, location: &str) -> Result<DataFrame> {
        let frame = self.inner.local.read_table(Arc::new(ImagesTable::try_new(location)?))?;
        Ok(self.data_frame(frame.into_unoptimized_plan()))
    }

    /// The session of DataFusion that runs queries: on the cluster, or in this process if there is none.
    #[must_use]
    pub fn queries(&self) -> &SessionContext {
        self.distributed().unwrap_or(&self.inner.local)
    }

    /// The session of DataFusion whose queries run on the cluster, if there is one.
    fn distributed(&self) -> Option<&SessionContext> {
        self.inner.distributed.as_ref()
    }

    /// The session of DataFusion that plans statements and runs plans that cannot be sent to the cluster. It shares its
    /// catalog with [`Self::queries`].
    #[must_use]
    pub fn local(&self) -> &SessionContext {
        &self.inner.local
    }

    /// The training service.
    ///
    /// # Errors
    /// [`Error::NotHere`] if it is in another process.
    pub fn training(&self) -> Result<&TrainingService> {
        self.inner.training.as_ref().ok_or(Error::NotHere { what: "training" })
    }

    /// Computes predictions in this process.
    #[must_use]
    pub fn predictor(&self) -> &Arc<dyn Predictor> {
        &self.inner.predictor
    }

    /// The function that is called with the events of runs.
    #[must_use]
    pub fn on_event(&self) -> Option<&OnEvent> {
        self.inner.on_event.as_ref()
    }

    /// Whether the client may train and change models.
    pub(crate) fn may_train(&self) -> bool {
        self.inner.may_train
    }

    /// Returns the folder of this session's tables. Creates it if necessary.
    fn folder(&self) -> std::io::Result<PathBuf> {
        let mut folder = self.inner.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder.as_ref() {
            return Ok(folder.path().to_owned());
        }
        let made = tables::session_folder(self.inner.tables.as_deref())?;
        Ok(folder.insert(made).path().to_owned())
    }

    /// Returns a plan as a DataFrame. It runs on the cluster if there is one, the plan reads a table and it can be sent
    /// there, otherwise in this process.
    #[must_use]
    pub fn data_frame(&self, plan: LogicalPlan) -> DataFrame {
        let session = self.distributed().filter(|_| tables::can_travel(&plan)).unwrap_or(&self.inner.local);
        DataFrame::new(session.state(), plan)
    }
}

/// Returns a session of DataFusion whose queries run on the cluster of this scheduler. It shares its catalog with `local`.
async fn distributed(url: &str, local: &SessionContext, predictor: &Arc<dyn Predictor>) -> Result<SessionContext> {
    let distributed = SessionContext::remote_with_state(url, local.state()).await?;
    let distributed = jobs::cancelling(&distributed, url);
    // The conversion to a session of Ballista drops Tusk's functions.
    scalar_functions(predictor).iter().for_each(|f| distributed.register_udf(f.as_ref().clone()));
    aggregate_functions().iter().for_each(|f| distributed.register_udaf(f.as_ref().clone()));
    Ok(distributed)
}
