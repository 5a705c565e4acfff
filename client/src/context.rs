//! [`TuskContext`]: SQL, tables and models on an embedded or a remote cluster.

#[cfg(feature = "embedded")]
use std::sync::Arc;

use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::protocol::{ClusterStatus, StatementHelp};
use tusk_process::tls::ClientTls;

#[cfg(feature = "embedded")]
use crate::cluster::EmbeddedCluster;
use crate::error::{Result, Results};
use crate::remote::{Credentials, Remote};

/// How a context is set up.
#[derive(Clone)]
pub struct ContextOptions {
    /// Where the embedded cluster keeps models: a path or a URL. A remote cluster has its own.
    pub store: String,
    /// Threads of a worker, and tasks at a time of the embedded executor.
    pub threads: usize,
    /// What decoded images may use, in the embedded executor.
    #[cfg(feature = "embedded")]
    pub cache: tusk_executor::CacheLimits,
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
            #[cfg(feature = "embedded")]
            cache: tusk_executor::CacheLimits::default(),
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
/// On a remote cluster, [`Self::sql`] is answered by the scheduler, with the scheduler's tables. The feature `embedded` adds
/// a cluster in this process and DataFrames, which are planned here: of a remote cluster too, whose executors must see
/// their files.
#[derive(Clone)]
pub struct TuskContext {
    pub(crate) cluster: Cluster,
    /// What plans here.
    #[cfg(feature = "embedded")]
    pub(crate) session: tusk_scheduler::Session,
    pub(crate) on_event: Option<OnEvent>,
}

#[derive(Clone, Debug)]
pub(crate) enum Cluster {
    #[cfg(feature = "embedded")]
    Embedded(Arc<EmbeddedCluster>),
    Remote(Box<Remote>),
}

impl std::fmt::Debug for TuskContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TuskContext").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl TuskContext {
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
        Ok(Self {
            #[cfg(feature = "embedded")]
            session: crate::embedded::remote_session(url, &remote, &options).await?,
            cluster: Cluster::Remote(Box::new(remote)),
            on_event: options.on_event,
        })
    }

    /// Runs one statement. A remote cluster gets its text as it is.
    ///
    /// # Errors
    /// When it does not parse (with line and column), plan or start; or when there is more than one.
    pub async fn sql(&self, sql: &str) -> Result<Results> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(_) => Ok(self.session.sql(sql).await?.failing_with()),
            Cluster::Remote(remote) => remote.sql(sql, self.on_event.clone()).await,
        }
    }

    /// Checks that a text is one statement, without running it.
    ///
    /// # Errors
    /// When it does not parse (with line and column), or when there is more than one.
    pub async fn check(&self, sql: &str) -> Result<()> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(_) => Ok(tusk_scheduler::check(sql)?),
            Cluster::Remote(remote) => remote.check(sql).await,
        }
    }

    /// The statements about models that the cluster runs.
    ///
    /// # Errors
    /// When the scheduler does not answer, or is older than this question.
    pub async fn statements(&self) -> Result<Vec<StatementHelp>> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(_) => Ok(tusk_scheduler::help()),
            Cluster::Remote(remote) => remote.statements().await,
        }
    }

    /// Everything that is known of a published model.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(cluster) => Ok(cluster.training().store().manifest(name).await?),
            Cluster::Remote(remote) => remote.manifest(name).await,
        }
    }

    /// What the cluster is doing.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn cluster_status(&self) -> Result<ClusterStatus> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(cluster) => Ok(cluster.status()),
            Cluster::Remote(remote) => remote.cluster_status().await,
        }
    }
}
