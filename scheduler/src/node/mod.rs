//! A scheduler that serves everything on one port: Ballista's gRPC, Flight and Flight SQL, REST, health, metrics and
//! runs.
//!
//! `tusk-scheduler` starts one from its flags. An embedded cluster starts one inside its own process.

pub(crate) mod catalog;
pub mod flags;
mod flight;
mod placement;
mod planner;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::http::StatusCode;
use ballista_core::ConfigProducer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::api::get_routes;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SessionBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tusk_core::engine::Predictor;
use tusk_core::protocol::{ClusterStatus, ExecutorReport};
use tusk_core::store::ModelStore;
use tusk_process::tls::{ClientTls, Listener, Peer, ServerTls};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder};

use crate::access::users::Users;
use crate::access::{AccessControl, authorize};
use crate::error::{Error, Result};
use crate::executors::{Executors, SharedExecutors};
use crate::metrics;
use crate::node::catalog::Catalog;
use crate::node::flight::{SessionFactory, TuskFlight, cluster_status};
use crate::node::placement::StickyPlacement;
use crate::node::planner::JobPlanner;
use crate::run::active::ActiveRuns;
use crate::run::job_runner::Scheduler;
use crate::service::{ServiceSettings, TrainingService};
use crate::session::SessionSettings;

/// The settings of a scheduler.
pub struct NodeSettings {
    /// Ballista's settings. Tusk replaces the placement, the codecs and the sessions.
    pub ballista: SchedulerConfig,
    /// The initial configuration of sessions.
    pub session: SessionConfig,
    /// The object stores and the memory of sessions.
    pub runtime: Arc<RuntimeEnv>,
    /// The model store.
    pub store: ModelStore,
    /// Threads per worker, used until an executor reports its own number.
    pub threads: u32,
    /// The tables that every client sees.
    pub catalog: Catalog,
    /// The folder in which CREATE TABLE writes. `None` means the system's temporary folder.
    pub tables: Option<PathBuf>,
    /// The users' file. Without one, every client has full access.
    pub users: Option<PathBuf>,
    /// The certificate of the port, and the certificates that it asks clients for. `None` means plaintext.
    pub server_tls: Option<ServerTls>,
    /// The certificates for connections to executors, and to this process itself. `None` means plaintext.
    pub client_tls: Option<ClientTls>,
}

/// A running scheduler. It stops when this is dropped.
#[derive(Debug)]
pub struct SchedulerNode {
    address: SocketAddr,
    training: TrainingService,
    executors: SharedExecutors,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

impl SchedulerNode {
    /// Starts a scheduler on a port that is already open.
    ///
    /// # Errors
    /// Returns an error if Ballista refuses its configuration, or the users' file or a certificate file cannot be used.
    pub async fn start(listener: TcpListener, settings: NodeSettings) -> Result<Self> {
        metrics::register();
        let address = listener.local_addr().map_err(|e| failed(&e))?;
        let executors: SharedExecutors = Arc::new(Executors::default());
        let logical: Arc<dyn LogicalExtensionCodec> = logical_codec();
        let physical: Arc<dyn PhysicalExtensionCodec> = physical_codec();
        let endpoint = settings.client_tls.as_ref().map(ClientTls::endpoint_override).transpose();
        let endpoint = endpoint.map_err(|e| failed(&e))?;
        let own_token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut session_config = settings.session.clone();
        if let Some(endpoint) = &endpoint {
            session_config = session_config
                .with_ballista_use_tls(true)
                .with_ballista_override_create_grpc_client_endpoint(Arc::clone(endpoint));
        }
        let plan_only: Arc<dyn Predictor> = Arc::new(PlanOnly);
        let scheduler = {
            let (runtime, config) = (Arc::clone(&settings.runtime), session_config.clone());
            let config_producer: ConfigProducer = Arc::new(move || config.clone());
            let plan_only = Arc::clone(&plan_only);
            let session_builder: SessionBuilder = Arc::new(move |config| {
                let rules = ballista_core::optimizer::ballista_default_optimizer_rules();
                let session = session_builder(config, Arc::clone(&runtime), &plan_only);
                Ok(session.with_optimizer_rules(rules).with_query_planner(Arc::new(JobPlanner)).build())
            });
            let mut ballista = settings.ballista.clone();
            ballista.scheduling_policy = TaskSchedulingPolicy::PushStaged;
            ballista.task_distribution =
                TaskDistributionPolicy::Custom(Arc::new(StickyPlacement::new(Arc::clone(&executors))));
            ballista.override_config_producer = Some(Arc::clone(&config_producer));
            ballista.override_session_builder = Some(Arc::clone(&session_builder));
            ballista.override_logical_codec = Some(Arc::clone(&logical));
            ballista.override_physical_codec = Some(Arc::clone(&physical));
            ballista.override_create_grpc_client_endpoint = endpoint.clone();
            ballista.use_tls = endpoint.is_some();
            ballista.validate().map_err(|e| failed(&e))?;
            let cluster = BallistaCluster::new_memory(ballista.scheduler_endpoint(), session_builder, config_producer);
            create_scheduler(cluster, Arc::new(ballista)).await.map_err(|e| failed(&e))?
        };
        let service = ServiceSettings {
            scheduler: scheduler.clone(),
            store: settings.store.clone(),
            codec: physical,
            executors: Arc::clone(&executors),
            threads: settings.threads,
        };
        let training = TrainingService::new(service, Arc::new(ActiveRuns::default())).await?;
        let users = settings.users.as_deref().map(Users::read).transpose()?.map(Arc::new);
        let gate = AccessControl {
            users: users.clone(),
            nodes_have_certificates: settings.server_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            own_token: own_token.clone(),
        };
        let own_config = session_config.with_ballista_grpc_metadata(HashMap::from([bearer(&own_token)]));
        let new_session = session_factory(address, own_config, &settings, plan_only, &training);
        let stop = CancellationToken::new();
        let flight = TuskFlight::new(
            new_session,
            settings.catalog.clone(),
            training.clone(),
            Arc::clone(&executors),
            users,
            proxy(&scheduler, endpoint.map(|f| Arc::new(BallistaConfigGrpcEndpoint::new(f)))),
            stop.clone(),
        )?;
        let router = router(scheduler, flight, Arc::new(gate), Arc::clone(&executors));
        let listener = match &settings.server_tls {
            None => Listener::plain(listener),
            Some(tls) => Listener::tls(listener, tls.acceptor().map_err(|e| failed(&e))?),
        };
        let server = tokio::spawn(serve(listener.map_err(|e| failed(&e))?, router, stop.clone()));
        Ok(Self { address, training, executors, server, stop })
    }

    /// The address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address on which it listens, as `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The training service.
    #[must_use]
    pub fn training(&self) -> &TrainingService {
        &self.training
    }

    /// The current state of the cluster.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        cluster_status(&self.executors, &self.training)
    }

    /// Receives a report from an executor in this process.
    ///
    /// # Errors
    /// Returns the reason if the report is refused.
    pub fn take_report(&self, report: ExecutorReport) -> Result<(), String> {
        self.executors.report(report, self.training.active().as_ref())
    }

    /// The executors and their last reports.
    #[must_use]
    pub fn executors(&self) -> &SharedExecutors {
        &self.executors
    }

    /// Stops accepting requests and waits until the active queries finish, at most for `limit`. Runs stop at their last
    /// checkpoint and are resumed when a scheduler starts on this store again.
    pub async fn drain(mut self, limit: Duration) {
        self.training.active().end();
        self.stop.cancel();
        if tokio::time::timeout(limit, &mut self.server).await.is_err() {
            tracing::info!(limit_s = limit.as_secs(), "shutting down with requests still running");
        }
    }
}

impl Drop for SchedulerNode {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Cluster { reason: error.to_string() }
}

/// Returns the header with a bearer token.
fn bearer(token: &str) -> (String, String) {
    ("authorization".to_owned(), format!("Bearer {token}"))
}

/// Returns a factory of sessions whose queries go to this scheduler.
fn session_factory(
    address: SocketAddr,
    config: SessionConfig,
    settings: &NodeSettings,
    predictor: Arc<dyn Predictor>,
    training: &TrainingService,
) -> SessionFactory {
    // The certificate contains a host name, and not always the loopback address.
    let host = if settings.client_tls.is_some() { settings.ballista.external_host.clone() } else { own_host(address) };
    let url = format!("http://{host}:{}", address.port());
    let (runtime, tables, training) = (Arc::clone(&settings.runtime), settings.tables.clone(), training.clone());
    Arc::new(move || SessionSettings {
        scheduler_url: url.clone(),
        config: config.clone(),
        runtime: Arc::clone(&runtime),
        predictor: Arc::clone(&predictor),
        training: Some(training.clone()),
        on_event: None,
        tables: tables.clone(),
        url_tables: false,
        // The service decides by the identity of the client.
        may_train: false,
    })
}

/// Returns the host under which this process reaches its own port.
fn own_host(address: SocketAddr) -> String {
    let ip = address.ip();
    match (ip.is_unspecified(), ip.is_ipv6()) {
        (true, false) => "127.0.0.1".to_owned(),
        (true, true) => "[::1]".to_owned(),
        (false, true) => format!("[{ip}]"),
        (false, false) => ip.to_string(),
    }
}

fn proxy(scheduler: &Scheduler, endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>) -> BallistaFlightProxyService {
    let config = &scheduler.state.config;
    BallistaFlightProxyService::new(
        config.grpc_server_max_decoding_message_size as usize,
        config.grpc_server_max_encoding_message_size as usize,
        config.use_tls,
        endpoint,
    )
}

/// Returns the routes of the port.
fn router(scheduler: Scheduler, flight: TuskFlight, gate: Arc<AccessControl>, executors: SharedExecutors) -> Router {
    let config = Arc::clone(&scheduler.state.config);
    let decoding = config.grpc_server_max_decoding_message_size as usize;
    let encoding = config.grpc_server_max_encoding_message_size as usize;
    let mut grpc = RoutesBuilder::default();
    grpc.add_service(
        SchedulerGrpcServer::new(scheduler.clone())
            .max_decoding_message_size(decoding)
            .max_encoding_message_size(encoding),
    );
    grpc.add_service(
        FlightServiceServer::new(flight).max_decoding_message_size(decoding).max_encoding_message_size(encoding),
    );
    let not_found = || async { (StatusCode::NOT_FOUND, "not found\n") };
    let grpc = grpc.routes().into_axum_router().fallback(not_found);
    let is_ready = {
        let scheduler = scheduler.clone();
        move || {
            let wanted = scheduler.state.config.min_ready_executors;
            if scheduler.is_ready() { Ok(()) } else { Err(format!("fewer than {wanted} executors are registered")) }
        }
    };
    let rest = if config.disable_rest_api { Router::new() } else { get_routes(Arc::new(scheduler)) };
    rest.merge(grpc)
        .merge(tusk_process::health::routes(is_ready))
        .merge(tusk_process::metrics::routes(move || executors.refresh_gauges()))
        .layer(axum::middleware::from_fn_with_state(gate, authorize))
}

async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the scheduler stopped");
    }
}
