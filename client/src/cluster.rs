//! The embedded cluster: a scheduler and an executor in this process. They communicate over the loopback interface, as
//! on a real cluster.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ballista_scheduler::config::SchedulerConfig;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tusk_core::engine::Predictor;
use tusk_core::protocol::ClusterStatus;
use tusk_core::store::ModelStore;
use tusk_executor::{CacheLimits, EmbeddedExecutor, ExecutorSettings, Identity, Plugin, PluginSettings};
use tusk_scheduler::{Catalog, NodeSettings, SchedulerNode, TrainingService};
use tusk_udfs::session::session_config;

use crate::error::Result;

/// The interval of the executor's reports to the scheduler.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A scheduler and an executor. Both stop when this is dropped.
#[derive(Debug)]
pub(crate) struct EmbeddedCluster {
    // Fields are dropped in this order. The executor stops first: without a scheduler it logs errors.
    _executor: EmbeddedExecutor,
    reports: JoinHandle<()>,
    scheduler: Arc<SchedulerNode>,
}

impl EmbeddedCluster {
    /// Starts the scheduler and the executor.
    pub(crate) async fn start(
        threads: usize,
        cache: CacheLimits,
        runtime: Arc<RuntimeEnv>,
        store: ModelStore,
        predictor: &Arc<dyn Predictor>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DataFusionError::IoError)?;
        let address = listener.local_addr().map_err(DataFusionError::IoError)?;
        let ballista = SchedulerConfig::default().with_hostname(address.ip().to_string()).with_port(address.port());
        let scheduler = SchedulerNode::start(
            listener,
            NodeSettings {
                ballista,
                session: session_config().with_target_partitions(threads),
                runtime: Arc::clone(&runtime),
                store,
                threads: u32::try_from(threads).unwrap_or(u32::MAX),
                catalog: Catalog::default(),
                tables: None,
                users: None,
                server_tls: None,
                client_tls: None,
            },
        );
        let scheduler = Arc::new(scheduler.await?);
        let settings = PluginSettings { cache, threads, ..PluginSettings::default() };
        let plugin = Plugin::with(&settings, predictor, Some(runtime), scheduler.training().progress());
        let plugin = Arc::new(plugin.map_err(DataFusionError::from)?);
        let identity = Identity { executor_id: uuid::Uuid::new_v4().to_string(), host: address.ip().to_string() };
        // Slots for queries in addition to those for training, so that a query does not wait for an epoch.
        let vcores = threads + plugin.workers();
        let executor = identity.executor_id.clone();
        let executor = ExecutorSettings::with_plugin(&plugin, executor, scheduler.url(), vcores);
        let executor = EmbeddedExecutor::start(executor).await?;
        report(&plugin, &scheduler, &identity);
        let reports = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move {
                loop {
                    tokio::time::sleep(REPORT_EVERY).await;
                    report(&plugin, &scheduler, &identity);
                }
            }
        });
        Ok(Self { _executor: executor, reports, scheduler })
    }

    /// The address of the scheduler.
    pub(crate) fn scheduler_url(&self) -> String {
        self.scheduler.url()
    }

    /// The current activity of the cluster.
    pub(crate) fn status(&self) -> ClusterStatus {
        self.scheduler.status()
    }

    /// The service that runs training.
    pub(crate) fn training(&self) -> &TrainingService {
        self.scheduler.training()
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

/// Passes the executor's report to the scheduler. It omits the progress, which goes to the runs directly.
fn report(plugin: &Plugin, scheduler: &SchedulerNode, identity: &Identity) {
    let mut report = plugin.report(identity);
    report.progress.clear();
    if let Err(error) = scheduler.take_report(report) {
        tracing::warn!(error, "the embedded scheduler refused a report");
    }
}
