//! [`TuskContext`]: SQL, tables and models on an embedded or a remote cluster.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use tusk_core::engine::Predictor;
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::sql::{ModelStatement, Statement};
use tusk_core::store::{ModelStore, table_runtime};
use tusk_executor::{CacheLimits, TorchPredictor};
use tusk_process::tls::ClientTls;
use tusk_scheduler::{ClusterStatus, OnEvent, Results, Session, SessionSettings, Training, one_statement};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{physical_codec, session_config};

use crate::cluster::EmbeddedCluster;
use crate::error::{Error, Result};
use crate::remote::{Credentials, Remote, http_url};

/// How a context is set up.
#[derive(Clone)]
pub struct ContextOptions {
    /// Where the embedded cluster keeps models: a path or a URL. A remote cluster has its own.
    pub store: String,
    /// Threads of a worker, and tasks at a time of the embedded executor.
    pub threads: usize,
    /// What decoded images may use, in the embedded executor.
    pub cache: CacheLimits,
    /// Called with everything that happens in runs.
    pub on_event: Option<OnEvent>,
    /// Who asks, on a remote cluster.
    pub credentials: Credentials,
    /// How a remote cluster is spoken to; plaintext without it.
    pub tls: Option<ClientTls>,
}

impl Default for ContextOptions {
    /// The store `./tusk-store` (or `TUSK_STORE`) and all processors.
    fn default() -> Self {
        Self {
            store: std::env::var("TUSK_STORE").unwrap_or_else(|_| "tusk-store".to_owned()),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cache: CacheLimits::default(),
            on_event: None,
            credentials: Credentials::Nobody,
            tls: None,
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

/// Where users begin: a session with its tables, a cluster that runs its queries, and its models. Cheap to clone.
///
/// On a remote cluster, [`Self::sql`] is answered by the scheduler, with the scheduler's tables. DataFrames are planned
/// here, and their files must be where the executors see them, too.
#[derive(Clone, Debug)]
pub struct TuskContext {
    session: Session,
    cluster: Cluster,
}

#[derive(Clone, Debug)]
enum Cluster {
    Embedded(Arc<EmbeddedCluster>),
    Remote(Box<Remote>),
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
        let runtime = table_runtime().build_arc()?;
        let cluster =
            EmbeddedCluster::start(options.threads, options.cache, Arc::clone(&runtime), store, &predictor).await?;
        let session = Session::open(SessionSettings {
            scheduler_url: cluster.scheduler_url(),
            config: session_config().with_target_partitions(options.threads),
            runtime,
            predictor,
            training: Some(cluster.training().clone()),
            on_event: options.on_event,
            tables: None,
            url_tables: true,
        });
        Ok(Self { session: session.await?, cluster: Cluster::Embedded(Arc::new(cluster)) })
    }

    /// A context on the cluster whose scheduler listens at `url` (`df://host:50050`), with the default options.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn remote(url: &str) -> Result<Self> {
        Self::remote_with(url, ContextOptions::default()).await
    }

    /// A context on the cluster whose scheduler listens at `url`.
    ///
    /// # Errors
    /// When the scheduler does not answer, or the credentials are wrong.
    pub async fn remote_with(url: &str, options: ContextOptions) -> Result<Self> {
        let remote = Remote::connect(url, &options.credentials, options.tls.as_ref()).await?;
        let mut config = session_config().with_target_partitions(options.threads);
        if let Some(authorization) = remote.authorization() {
            let header = ("authorization".to_owned(), authorization.to_owned());
            config = config.with_ballista_grpc_metadata(HashMap::from([header]));
        }
        if let Some(tls) = &options.tls {
            let failed =
                |e: tusk_process::tls::TlsError| Error::Scheduler { url: url.to_owned(), reason: e.to_string() };
            config = config
                .with_ballista_use_tls(true)
                .with_ballista_override_create_grpc_client_endpoint(tls.endpoint_override().map_err(failed)?);
        }
        let session = Session::open(SessionSettings {
            scheduler_url: http_url(url),
            config,
            runtime: table_runtime().build_arc()?,
            predictor: Arc::new(PlanOnly),
            training: None,
            on_event: options.on_event,
            tables: None,
            url_tables: true,
        });
        Ok(Self { session: session.await?, cluster: Cluster::Remote(Box::new(remote)) })
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// When it does not parse (with line and column), plan or start; or when there is more than one.
    pub async fn sql(&self, sql: &str) -> Result<Results> {
        self.execute(one_statement(sql)?).await
    }

    /// Runs a parsed statement.
    ///
    /// # Errors
    /// When it cannot be planned or started.
    pub async fn execute(&self, statement: Statement) -> Result<Results> {
        let Cluster::Remote(remote) = &self.cluster else { return self.session.execute(statement).await };
        let model = match &statement {
            Statement::Model(ModelStatement::Create { explain: false, create }) => Some(create.name.clone()),
            _ => None,
        };
        remote.sql(&statement.to_string(), model, self.session.on_event().cloned()).await
    }

    /// A query as a DataFrame that runs on the cluster.
    ///
    /// # Errors
    /// When it cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        self.session.query(sql).await
    }

    /// A Parquet file or folder as a DataFrame.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read_parquet(&self, path: &str) -> Result<DataFrame> {
        self.session.read_parquet(path).await
    }

    /// A folder of images as a DataFrame with the columns path, image, label, width, height, format.
    ///
    /// # Errors
    /// When the location is no folder.
    pub fn read_images(&self, location: &str) -> Result<DataFrame> {
        self.session.read_images(location)
    }

    /// Where the scheduler of the embedded cluster listens, as `http://host:port`: other contexts of this machine may
    /// join it with [`Self::remote`]. `None` on a remote cluster.
    #[must_use]
    pub fn scheduler_url(&self) -> Option<String> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Some(cluster.scheduler_url()),
            Cluster::Remote(_) => None,
        }
    }

    /// DataFusion's session, whose queries run on the cluster.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        self.session.distributed()
    }

    /// Everything that is known of a published model.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Ok(cluster.training().store().manifest(name).await?),
            Cluster::Remote(remote) => remote.manifest(name).await,
        }
    }

    /// Where the embedded cluster keeps models; `None` on a remote cluster.
    #[must_use]
    pub fn store(&self) -> Option<&ModelStore> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Some(cluster.training().store()),
            Cluster::Remote(_) => None,
        }
    }

    /// What the cluster is doing.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn cluster_status(&self) -> Result<ClusterStatus> {
        match &self.cluster {
            Cluster::Embedded(cluster) => Ok(cluster.status()),
            Cluster::Remote(remote) => remote.cluster_status().await,
        }
    }

    /// What plans here.
    pub(crate) fn planner(&self) -> &Session {
        &self.session
    }

    /// Starts a run; its rows are its epochs.
    pub(crate) async fn train(&self, training: &Training) -> Result<Results> {
        let request = training.request(&self.session).await?;
        let on_event = self.session.on_event().cloned();
        match &self.cluster {
            Cluster::Embedded(cluster) => Ok(cluster.training().start_watched(request, on_event).await?),
            Cluster::Remote(remote) => {
                let bytes = request.encode(physical_codec().as_ref())?;
                remote.train(request.name, bytes, on_event).await
            }
        }
    }
}
