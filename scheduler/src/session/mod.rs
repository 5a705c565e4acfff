//! A session: a catalog, and a cluster that runs its queries. The statements about models are in `statements`.
//!
//! The scheduler has one for each of its SQL clients; a program that embeds a cluster has one of its own.

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

/// What a session is made of.
pub struct SessionSettings {
    /// The scheduler that queries go to, as `http://host:port` or `df://host:port`.
    pub scheduler_url: String,
    /// What the session starts from.
    pub config: SessionConfig,
    /// Object stores and memory.
    pub runtime: Arc<RuntimeEnv>,
    /// Applies models, where queries run in this process.
    pub predictor: Arc<dyn Predictor>,
    /// The training service, where it lives in this process.
    pub training: Option<TrainingService>,
    /// Called with everything that happens in runs.
    pub on_event: Option<OnEvent>,
    /// Below which the tables of CREATE TABLE are kept; the system's temporary folder where `None`. Executors on other
    /// hosts must see it under the same path.
    pub tables: Option<PathBuf>,
    /// Whether a file may be queried by its path in quotes.
    pub url_tables: bool,
}

/// A session. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    inner: Opaque<Inner>,
}

struct Inner {
    /// Plans, and runs what cannot travel. Shares its catalog with `distributed`.
    local: SessionContext,
    /// Runs on the cluster.
    distributed: SessionContext,
    training: Option<TrainingService>,
    predictor: Arc<dyn Predictor>,
    on_event: Option<OnEvent>,
    /// Below which its folder is.
    tables: Option<PathBuf>,
    /// Tables made by CREATE TABLE; made with the first.
    folder: Mutex<Option<TempDir>>,
}

impl Drop for Inner {
    /// The session's tables go with it, unless a run may still read them: the next start removes what is left then.
    fn drop(&mut self) {
        let is_read = self.training.as_ref().is_some_and(|training| training.active().may_read());
        let folder = self.folder.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(folder) = folder.filter(|_| is_read) {
            let path = folder.keep();
            tracing::info!(folder = %path.display(), "the tables of a session stay: a run may read them");
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
    /// When the URL is none.
    pub async fn open(settings: SessionSettings) -> Result<Self> {
        let SessionSettings { scheduler_url, config, runtime, predictor, training, on_event, tables, url_tables } =
            settings;
        let local = SessionContext::new_with_state(session_builder(config, runtime, &predictor).build());
        let local = if url_tables { local.enable_url_table() } else { local };
        let distributed = SessionContext::remote_with_state(&scheduler_url, local.state()).await?;
        // Becoming Ballista's, the session lost our functions.
        scalar_functions(&predictor).iter().for_each(|f| distributed.register_udf(f.as_ref().clone()));
        aggregate_functions().iter().for_each(|f| distributed.register_udaf(f.as_ref().clone()));
        let folder = Mutex::new(None);
        Ok(Self { inner: Opaque::new(Inner { local, distributed, training, predictor, on_event, tables, folder }) })
    }

    /// Runs a statement of DataFusion's that is planned already.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn execute_plan(&self, plan: LogicalPlan) -> Result<Results> {
        tables::execute(self, plan).await
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

    /// DataFusion's session, whose queries run on the cluster.
    #[must_use]
    pub fn distributed(&self) -> &SessionContext {
        &self.inner.distributed
    }

    /// The session that plans, and that runs what cannot travel. Its catalog is the one of both.
    #[must_use]
    pub fn local(&self) -> &SessionContext {
        &self.inner.local
    }

    /// The training service.
    ///
    /// # Errors
    /// [`Error::NotHere`] when it lives in another process.
    pub fn training(&self) -> Result<&TrainingService> {
        self.inner.training.as_ref().ok_or(Error::NotHere { what: "training" })
    }

    /// What applies models in this process.
    #[must_use]
    pub fn predictor(&self) -> &Arc<dyn Predictor> {
        &self.inner.predictor
    }

    /// What is called with everything that happens in runs.
    #[must_use]
    pub fn on_event(&self) -> Option<&OnEvent> {
        self.inner.on_event.as_ref()
    }

    /// The folder of the tables that this session made.
    fn folder(&self) -> std::io::Result<PathBuf> {
        let mut folder = self.inner.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder.as_ref() {
            return Ok(folder.path().to_owned());
        }
        let made = tables::session_folder(self.inner.tables.as_deref())?;
        Ok(folder.insert(made).path().to_owned())
    }

    /// A plan as a DataFrame that runs where it can.
    #[must_use]
    pub fn data_frame(&self, plan: LogicalPlan) -> DataFrame {
        let session = if tables::can_travel(&plan) { &self.inner.distributed } else { &self.inner.local };
        DataFrame::new(session.state(), plan)
    }
}
