//! [`TuskContext`]: SQL, tables and models on an embedded or a remote cluster.

use std::ffi::OsString;
#[cfg(feature = "embedded")]
use std::sync::Arc;

use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::protocol::{ClusterStatus, StatementHelp};
use tusk_process::tls::ClientTls;

#[cfg(feature = "embedded")]
use crate::cluster::EmbeddedCluster;
use crate::error::{Error, Result, Results};
use crate::remote::{Credentials, Remote};

/// The variable that names the store of the embedded cluster.
const STORE: &str = "TUSK_STORE";

/// The settings of a context.
#[derive(Clone)]
pub struct ContextOptions {
    /// Where the embedded cluster keeps models: a path or a URL. A remote cluster uses its own store.
    pub store: String,
    /// Threads per worker, and the number of tasks that the embedded executor runs at a time.
    pub threads: usize,
    /// How much memory and disk the embedded executor may use for decoded images.
    #[cfg(feature = "embedded")]
    pub cache: tusk_executor::CacheLimits,
    /// Called with every event of a run.
    pub on_event: Option<OnEvent>,
    /// The credentials for a remote cluster.
    pub credentials: Credentials,
    /// The TLS settings for a remote cluster. `None` means plaintext.
    pub tls: Option<ClientTls>,
}

impl Default for ContextOptions {
    /// The store `./tusk-store` and all processors. This does not read the environment; [`Self::from_env`] does.
    fn default() -> Self {
        Self {
            store: "tusk-store".to_owned(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            #[cfg(feature = "embedded")]
            cache: tusk_executor::CacheLimits::default(),
            on_event: None,
            credentials: Credentials::Nobody,
            tls: None,
        }
    }
}

impl ContextOptions {
    /// The defaults, overridden by environment variables: `TUSK_STORE` sets the store. With the feature `embedded`,
    /// `TUSK_CACHE_MEMORY_BYTES`, `TUSK_CACHE_DISK_BYTES` and `TUSK_CACHE_DIR` set the cache. An empty variable counts
    /// as unset.
    ///
    /// # Errors
    /// When a variable has an invalid value.
    pub fn from_env() -> Result<Self> {
        let defaults = Self::default();
        let store = match std::env::var_os(STORE).filter(|store| !store.is_empty()) {
            Some(given) => store_of(given)?,
            None => defaults.store,
        };
        Ok(Self {
            store,
            #[cfg(feature = "embedded")]
            cache: tusk_executor::CacheLimits::from_env()
                .map_err(|source| Error::Embedded { source: Box::new(source) })?,
            ..defaults
        })
    }
}

/// Checks the value of the variable that names the store.
fn store_of(given: OsString) -> Result<String> {
    given.into_string().map_err(|given| Error::Variable {
        variable: STORE,
        value: given.display().to_string(),
        expected: "a path or a URL in UTF-8",
    })
}

impl std::fmt::Debug for ContextOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextOptions")
            .field("store", &self.store)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The entry point: a session with its tables, a cluster that runs its queries, and its models. Cheap to clone.
///
/// On a remote cluster, the scheduler runs [`Self::sql`] on its own tables. The feature `embedded` adds a cluster in
/// this process, and DataFrames. DataFrames are planned in this process, so the executors of a remote cluster must be
/// able to read the same files.
#[derive(Clone)]
pub struct TuskContext {
    pub(crate) cluster: Cluster,
    /// Plans statements in this process.
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
            session: crate::remote::session::remote_session(
                url,
                &remote,
                crate::remote::session::Options {
                    threads: options.threads,
                    tls: options.tls.as_ref(),
                    on_event: options.on_event.clone(),
                },
            )
            .await?,
            cluster: Cluster::Remote(Box::new(remote)),
            on_event: options.on_event,
        })
    }

    /// Runs one statement. The text is sent to a remote cluster unchanged.
    ///
    /// # Errors
    /// When the statement does not parse (with line and column), cannot be planned or cannot start, or when there is
    /// more than one.
    pub async fn sql(&self, sql: &str) -> Result<Results> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(_) => Ok(self.session.sql(sql).await?.failing_with()),
            Cluster::Remote(remote) => remote.sql(sql, self.on_event.clone()).await,
        }
    }

    /// Checks that a text is one statement, without running it.
    /// Checks that a text is one statement, without running it.
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
    /// When the scheduler does not answer, or is too old to list them.
    pub async fn statements(&self) -> Result<Vec<StatementHelp>> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(_) => Ok(tusk_scheduler::help()),
            Cluster::Remote(remote) => remote.statements().await,
        }
    }

    /// The manifest of a published model.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub async fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        match &self.cluster {
            #[cfg(feature = "embedded")]
            Cluster::Embedded(cluster) => Ok(cluster.training().store().manifest(name).await?),
            Cluster::Remote(remote) => remote.manifest(name).await,
        }
    }

    /// The current activity of the cluster.
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_store_that_is_not_unicode_is_refused_with_its_variable() {
        assert_eq!(store_of("s3://models".into()).unwrap(), "s3://models");
        let refusal = store_of(OsString::from_vec(vec![b's', 0xff])).unwrap_err().to_string();
        let expected = "the environment variable TUSK_STORE is 's\u{fffd}'; it takes a path or a URL in UTF-8. Correct it or \
                        unset it";
        assert_eq!(refusal, expected);
    }
}
