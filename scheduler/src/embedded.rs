//! A scheduler inside another process: what `tusk-scheduler` runs, without a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ballista_core::ConfigProducer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use ballista_scheduler::scheduler_server::SessionBuilder;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a scheduler in this process is made of.
pub struct SchedulerSettings {
    /// Plans the queries of a session with this configuration.
    pub session_builder: Arc<dyn Fn(SessionConfig) -> Result<SessionState> + Send + Sync>,
    /// The configuration that sessions start from.
    pub config: SessionConfig,
    /// How logical plans are read.
    pub logical_codec: Arc<dyn LogicalExtensionCodec>,
    /// How physical plans are written.
    pub physical_codec: Arc<dyn PhysicalExtensionCodec>,
    /// The largest gRPC message, in bytes.
    pub message_bytes_max: usize,
}

impl std::fmt::Debug for SchedulerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerSettings").field("message_bytes_max", &self.message_bytes_max).finish_non_exhaustive()
    }
}

/// A running scheduler. Stops when dropped.
#[derive(Debug)]
pub struct EmbeddedScheduler {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl EmbeddedScheduler {
    /// Starts a scheduler on a port of the loopback interface that the system chooses.
    ///
    /// # Errors
    /// When no port is free or Ballista refuses its configuration.
    pub async fn start(settings: SchedulerSettings) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let message_bytes = u32::try_from(settings.message_bytes_max).unwrap_or(u32::MAX);
        let producer_config = settings.config;
        let config_producer: ConfigProducer = Arc::new(move || producer_config.clone());
        let session_builder: SessionBuilder = settings.session_builder;
        let mut config = SchedulerConfig::default()
            .with_hostname(address.ip().to_string())
            .with_port(address.port())
            .with_scheduler_policy(TaskSchedulingPolicy::PushStaged)
            .with_grpc_server_max_decoding_message_size(message_bytes)
            .with_grpc_server_max_encoding_message_size(message_bytes)
            .with_override_config_producer(Arc::clone(&config_producer))
            .with_override_session_builder(Arc::clone(&session_builder));
        config.override_logical_codec = Some(settings.logical_codec);
        config.override_physical_codec = Some(settings.physical_codec);
        let cluster = BallistaCluster::new_memory(address.to_string(), session_builder, config_producer);
        let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config))
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let server = tokio::spawn(async move {
            if let Err(error) = start_grpc_service_with_listener(listener, scheduler).await {
                tracing::error!(%error, "the scheduler stopped");
            }
        });
        Ok(Self { address, server })
    }

    /// Where it listens, as `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedScheduler {
    fn drop(&mut self) {
        self.server.abort();
    }
}
