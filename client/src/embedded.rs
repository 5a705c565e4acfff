//! The methods of a context with the feature `embedded`: a cluster in this process, and DataFrames.

use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use tusk_core::engine::Predictor;
use tusk_core::store::{ModelStore, table_runtime};
use tusk_executor::TorchPredictor;
use tusk_scheduler::{Session, SessionSettings, Training};
use tusk_udfs::session::{physical_codec, session_config};

use crate::cluster::EmbeddedCluster;
use crate::context::{Cluster, ContextOptions, TuskContext};
use crate::error::{Result, Results};

impl TuskContext {
    /// A context on a new cluster in this process, with the options of [`ContextOptions::from_env`].
    ///
    /// # Errors
    /// When an environment variable is invalid, the store cannot be opened, or no port of the loopback interface is
    /// free.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_with(ContextOptions::from_env()?).await
    }

    /// A context on a new cluster in this process.
    ///
    /// # Errors
    /// When the store cannot be opened or no port of the loopback interface is free.
    pub async fn embedded_with(options: ContextOptions) -> Result<Self> {
        let store = ModelStore::open(&options.store)?;
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store.clone(), options.threads));
        let runtime = table_runtime().build_arc()?;
        let cluster =
            EmbeddedCluster::start(options.threads, options.cache, Arc::clone(&runtime), store, &predictor).await?;
        let session = Session::open(SessionSettings {
            scheduler_url: cluster.scheduler_url(),
            config: session_config().with_target_partitions(options.threads),
            runtime,
            predictor,
            training: Some(cluster.training().clone()),
            on_event: options.on_event.clone(),
            tables: None,
            url_tables: true,
            may_train: true,
        });
        let cluster = Cluster::Embedded(Arc::new(cluster));
        Ok(Self { session: session.await?, cluster, on_event: options.on_event })
    }

    /// A query as a DataFrame that runs on the cluster.
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

    /// The address of the embedded cluster's scheduler, as `http://host:port`. Other contexts on this machine can
    /// connect to it with [`Self::remote`]. `None` on a remote cluster.
    #[must_use]
    pub fn scheduler_url(&self) -> Option<String> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Some(cluster.scheduler_url()),
            Cluster::Remote(_) => None,
        }
    }

    /// The DataFusion session. Its queries run on the cluster.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        self.session.distributed()
    }

    /// The model store of the embedded cluster. `None` on a remote cluster.
    #[must_use]
    pub fn store(&self) -> Option<&ModelStore> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Some(cluster.training().store()),
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
            Cluster::Embedded(cluster) => Ok(cluster.training().start_watched(request, on_event).await?.failing_with()),
            Cluster::Remote(remote) => {
                let bytes = request.encode(physical_codec().as_ref())?;
                remote.train(request.name, bytes, on_event).await
            }
        }
    }
}
