//! A session: a catalog and settings, and a connection to the cluster that runs its queries. The statements about
//! models are in `statements`.
//!
//! The scheduler has one session per SQL client. A program with an embedded cluster has its own.

mod source;
mod tables;
mod training;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ballista::extension::SessionContextExt;
use datafusion::dataframe::DataFrame;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tempfile::TempDir;
use tusk_core::engine::Predictor;
use tusk_core::event::OnEvent;
use tusk_udfs::images_table::ImagesTable;
use tusk_udfs::session::{aggregate_functions, scalar_functions, session_builder};

use crate::error::{Error, Result, Results};
use crate::opaque::Opaque;
use crate::service::TrainingService;

pub use source::Rows;
pub(crate) use tables::leftovers;
pub use training::Training;

/// The settings of a session.
pub struct SessionSettings {
    /// The URL of the scheduler that runs queries, as `http://host:port` or `df://host:port`.
    pub scheduler_url: String,
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
}

struct Inner {
    /// Plans statements, and runs plans that cannot be sent to the cluster. Shares its catalog with `distributed`.
    local: SessionContext,
    /// Runs plans on the cluster.
    distributed: SessionContext,
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
        let SessionSettings {
            scheduler_url,
            config,
            runtime,
            predictor,
            training,
            on_event,
            tables,
            url_tables,
            may_train,
        } = settings;
        let local = SessionContext::new_with_state(session_builder(config, runtime, &predictor).build());
        let local = if url_tables { local.enable_url_table() } else { local };
        let distributed = SessionContext::remote_with_state(&scheduler_url, local.state()).await?;
        // The conversion to a session of Ballista drops Tusk's functions.
        scalar_functions(&predictor).iter().for_each(|f| distributed.register_udf(f.as_ref().clone()));
        aggregate_functions().iter().for_each(|f| distributed.register_udaf(f.as_ref().clone()));
        let folder = Mutex::new(None);
        let inner = Inner { local, distributed, training, predictor, on_event, may_train, tables, folder };
        Ok(Self { inner: Opaque::new(inner) })
    }

    /// Runs a planned statement of DataFusion.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub async fn execute_plan(&self, plan: LogicalPlan) -> Result<Results> {
        tables::execute(self, plan).await
    }

    /// Returns a query as a DataFrame that runs on the cluster.
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

    /// The session of DataFusion whose queries run on the cluster.
    #[must_use]
    pub fn distributed(&self) -> &SessionContext {
        &self.inner.distributed
    }

    /// The session of DataFusion that plans statements and runs plans that cannot be sent to the cluster. It shares its
    /// catalog with [`Self::distributed`].
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

    /// Returns a plan as a DataFrame. It runs on the cluster if the plan reads a table and can be sent there, otherwise
    /// in this process.
    #[must_use]
    pub fn data_frame(&self, plan: LogicalPlan) -> DataFrame {
        let session = if tables::can_travel(&plan) { &self.inner.distributed } else { &self.inner.local };
        DataFrame::new(session.state(), plan)
    }
}
