//! Runs an executor inside another process.

use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource};
use ballista_core::serde::protobuf::{ExecutorSpecification, executor_resource::Resource};
use ballista_core::utils::{GrpcServerConfig, create_grpc_server};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, RuntimeProducer};
use ballista_executor::executor::Executor;
use ballista_executor::executor_process::ExecutorProcessConfig;
use ballista_executor::executor_server;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::metrics::LoggingMetricsCollector;
use ballista_executor::shutdown::ShutdownNotifier;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tusk_core::plans::CheckedCodec;

use crate::node::plugin::{Plugin, task_sessions};
use crate::node::stage::EncodingEngine;

/// The largest gRPC message, in bytes: Ballista's default.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The settings of an executor inside this process.
pub struct ExecutorSettings {
    /// The executor's id.
    pub executor_id: String,
    /// The address of the scheduler, as `http://host:port`.
    pub scheduler_url: String,
    /// The number of tasks that run at a time.
    pub vcores: usize,
    /// The largest gRPC message, in bytes.
    pub message_bytes_max: usize,
    /// The session configuration of tasks, with the training engine as an extension.
    pub config: SessionConfig,
    /// The runtime of tasks: object stores and memory.
    pub runtime: Arc<RuntimeEnv>,
    /// The codec of plans.
    pub codec: CheckedCodec,
    /// The functions that tasks may call.
    pub functions: Arc<BallistaFunctionRegistry>,
}

impl std::fmt::Debug for ExecutorSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutorSettings").field("executor_id", &self.executor_id).finish_non_exhaustive()
    }
}

impl ExecutorSettings {
    /// Creates the settings of an executor with the plugin.
    #[must_use]
    pub fn with_plugin(plugin: &Plugin, executor_id: String, scheduler_url: String, vcores: usize) -> Self {
        plugin.set_scheduler(scheduler_url.clone());
        Self {
            executor_id,
            scheduler_url,
            vcores,
            message_bytes_max: MESSAGE_BYTES_MAX,
            config: plugin.config.clone(),
            runtime: plugin.runtime.clone().unwrap_or_default(),
            codec: plugin.codec(),
            functions: Arc::clone(&plugin.functions),
        }
    }
}

/// A running executor. Dropping it stops the executor and deletes its shuffle files.
#[derive(Debug)]
pub struct EmbeddedExecutor {
    _work_dir: TempDir,
    stop: tokio::sync::broadcast::Sender<()>,
    servers: Vec<JoinHandle<()>>,
}

impl EmbeddedExecutor {
    /// Starts an executor and registers it with the scheduler, which pushes tasks to it.
    ///
    /// # Errors
    /// When no port is free, the temporary folder cannot be created, or the scheduler does not respond.
    pub async fn start(settings: ExecutorSettings) -> Result<Self> {
        let work_dir = tempfile::Builder::new().prefix("tusk-executor-").tempdir()?;
        let folder = work_dir.path().display().to_string();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let grpc_port = free_port()?;
        let vcores = u32::try_from(settings.vcores).unwrap_or(u32::MAX);
        let metadata = ExecutorRegistration {
            id: settings.executor_id,
            host: Some(Ipv4Addr::LOCALHOST.to_string()),
            port: u32::from(listener.local_addr()?.port()),
            grpc_port: u32::from(grpc_port),
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource { resource: Some(Resource::Vcores(vcores)) }],
            }),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        };
        let runtime = settings.runtime;
        let runtime_producer: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
        let executor = Arc::new(Executor::new(
            metadata,
            &folder,
            runtime_producer,
            task_sessions(settings.config),
            settings.functions,
            Arc::new(LoggingMetricsCollector::default()),
            settings.vcores,
            Arc::new(EncodingEngine::pooled(0)),
        ));
        let flight = FlightServiceServer::new(BallistaFlightService::new(folder))
            .max_decoding_message_size(settings.message_bytes_max)
            .max_encoding_message_size(settings.message_bytes_max);
        let flight = create_grpc_server(&GrpcServerConfig::default())
            .add_service(flight)
            // The builder's `tcp_nodelay` does not apply to an existing listener. Without it, small messages are
            // delayed.
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        let flight = tokio::spawn(async move {
            if let Err(error) = flight.await {
                tracing::error!(%error, "the executor's flight service stopped");
            }
        });
        let shutdown = ShutdownNotifier::new();
        let server = start_tasks(&settings.scheduler_url, settings.codec, executor, grpc_port, &shutdown).await;
        let server = server.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Self { _work_dir: work_dir, stop: shutdown.notify_shutdown, servers: vec![flight, server] })
    }
}

impl Drop for EmbeddedExecutor {
    fn drop(&mut self) {
        // Sending fails if the executor has stopped already.
        drop(self.stop.send(()));
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// Registers with the scheduler and starts the task service.
async fn start_tasks(
    scheduler_url: &str,
    codec: CheckedCodec,
    executor: Arc<Executor>,
    grpc_port: u16,
    shutdown: &ShutdownNotifier,
) -> Result<JoinHandle<()>, ballista_core::error::BallistaError> {
    let endpoint = ballista_core::utils::create_grpc_client_endpoint(scheduler_url.to_owned(), None)?;
    let scheduler = SchedulerGrpcClient::new(endpoint.connect().await?);
    let config = ExecutorProcessConfig {
        bind_host: Ipv4Addr::LOCALHOST.to_string(),
        grpc_port,
        vcores: executor.metadata.specification.as_ref().map_or(1, |s| s.resources.len()),
        ..ExecutorProcessConfig::default()
    };
    let (stop, _stopped) = tokio::sync::mpsc::channel(1);
    let health = ballista_executor::health::ExecutorHealth::new();
    let server = executor_server::startup(scheduler, Arc::new(config), executor, codec, stop, shutdown, health).await?;
    Ok(tokio::spawn(async move {
        if let Ok(Err(error)) = server.await {
            tracing::error!(%error, "the executor's task service stopped");
        }
    }))
}

/// Returns a free port. Ballista takes a port number and not a listener, so another process could still take the port.
fn free_port() -> std::io::Result<u16> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
