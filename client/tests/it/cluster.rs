//! A Ballista cluster in the process of the tests: a scheduler and an executor, which communicate over the loopback
//! interface. It uses the same plans, codecs, jobs and shuffle files as a cluster of many machines.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ballista_scheduler::config::SchedulerConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tusk::{ContextOptions, TuskContext};
use tusk_core::engine::Predictor;
use tusk_core::store::{ModelStore, table_runtime};
use tusk_executor::{EmbeddedExecutor, ExecutorSettings, Identity, Plugin, PluginSettings, TorchPredictor};
use tusk_scheduler::{Catalog, NodeSettings, Queries, SchedulerNode, Session, SessionSettings};
use tusk_udfs::session::session_config;

/// The interval of the executor's reports to the scheduler.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A scheduler and an executor. Both stop when this is dropped.
pub(crate) struct Cluster {
    // Fields are dropped in this order. The executor stops first: without a scheduler it logs errors.
    _executor: EmbeddedExecutor,
    reports: JoinHandle<()>,
    scheduler: Arc<SchedulerNode>,
}

impl Cluster {
    /// Starts the scheduler and the executor. Also returns a context whose queries and runs are on this cluster.
    pub(crate) async fn start(options: ContextOptions) -> (Self, TuskContext) {
        let store = ModelStore::open(&options.store).unwrap();
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store.clone(), options.threads));
        let runtime = options.memory.apply(table_runtime(), "this process").build_arc().unwrap();
        let scheduler = Arc::new(scheduler(&options, Arc::clone(&runtime), store).await);
        let settings = PluginSettings { cache: options.cache, threads: options.threads, ..PluginSettings::default() };
        let progress = scheduler.training().progress();
        let plugin = Arc::new(Plugin::with(&settings, &predictor, Some(Arc::clone(&runtime)), progress).unwrap());
        let identity = Identity { executor_id: uuid::Uuid::new_v4().to_string(), host: "127.0.0.1".to_owned() };
        // Slots for queries in addition to those for training, so that a query does not wait for an epoch.
        let vcores = options.threads + plugin.workers();
        let executor = ExecutorSettings::with_plugin(&plugin, identity.executor_id.clone(), scheduler.url(), vcores);
        let executor = EmbeddedExecutor::start(executor).await.unwrap();
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
        let session = Session::open(SessionSettings {
            queries: Queries::Cluster(scheduler.url()),
            config: session_config().with_target_partitions(options.threads),
            runtime,
            predictor,
            training: Some(scheduler.training().clone()),
            on_event: options.on_event.clone(),
            tables: None,
            url_tables: true,
            may_train: true,
        });
        let context = TuskContext::from_parts(session.await.unwrap(), scheduler.training().clone(), options.on_event);
        (Self { _executor: executor, reports, scheduler }, context)
    }

    /// The address of the scheduler, as `http://host:port`.
    pub(crate) fn url(&self) -> String {
        self.scheduler.url()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

async fn scheduler(options: &ContextOptions, runtime: Arc<RuntimeEnv>, store: ModelStore) -> SchedulerNode {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = NodeSettings {
        ballista: SchedulerConfig::default().with_hostname(address.ip().to_string()).with_port(address.port()),
        session: session_config().with_target_partitions(options.threads),
        runtime,
        store,
        threads: options.threads as u32,
        catalog: Catalog::default(),
        tables: None,
        users: None,
        server_tls: None,
        client_tls: None,
    };
    SchedulerNode::start(listener, settings).await.unwrap()
}

/// Passes the executor's report to the scheduler. It omits the progress, which goes to the runs directly.
fn report(plugin: &Plugin, scheduler: &SchedulerNode, identity: &Identity) {
    let mut report = plugin.report(identity);
    report.progress.clear();
    scheduler.take_report(report).unwrap();
}
