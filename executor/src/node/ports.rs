//! Serves an executor's two public ports: one receives tasks, the other sends the result rows of tasks.
//!
//! Ballista's task service uses plaintext and decodes plans without checks, and neither can be replaced. Therefore it
//! listens on a loopback address only, and Tusk's own servers listen on the public ports. The task port checks plans
//! before it forwards them to Ballista's task service. The row port uses Ballista's Flight service. Both use TLS if
//! certificates are configured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::executor_grpc_server::{ExecutorGrpc, ExecutorGrpcServer};
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
};
use ballista_executor::executor_process::ExecutorProcessConfig;
use ballista_executor::flight_service::BallistaFlightService;
use datafusion::execution::TaskContext;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tusk_core::codec::decode_plan;
use tusk_process::tls::{Listener, ServerTls};

use crate::node::error::ProcessError;
use crate::node::plugin::Plugin;

/// How long Ballista's task service may take to accept a connection.
const INSIDE_TIMEOUT: Duration = Duration::from_secs(5);

/// The servers on the executor's public ports. They stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Ports(Vec<JoinHandle<()>>);

impl Drop for Ports {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Returns the address of this machine from which it reaches the scheduler.
pub(crate) fn facing(host: &str, port: u16) -> std::io::Result<IpAddr> {
    // Connecting a UDP socket sends nothing, but the system chooses the local address.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((host, port))?;
    Ok(socket.local_addr()?.ip())
}

/// Returns a loopback address that depends on the process id, so that executors on one machine do not share it.
fn inside() -> Ipv4Addr {
    let id = std::process::id();
    let byte = |shift: u32| ((id >> shift) & 0xff) as u8;
    Ipv4Addr::new(127, 64 | (byte(16) & 0x3f), byte(8), 1 + byte(0) % 254)
}

impl Ports {
    /// Starts the servers and moves Ballista's task service to a loopback address. Rows are served on `bind`. Tasks are
    /// served on `outside` and on the addresses of the executor's external host, and not on every address, because
    /// Ballista's task service uses the same port number.
    pub(crate) async fn open(
        config: &mut ExecutorProcessConfig,
        plugin: &Plugin,
        (bind, outside): (IpAddr, IpAddr),
        tls: Option<&ServerTls>,
    ) -> Result<Self, ProcessError> {
        let inside = inside();
        let decoding = config.grpc_max_decoding_message_size as usize;
        let encoding = config.grpc_max_encoding_message_size as usize;
        let target = Endpoint::from_shared(format!("http://{inside}:{}", config.grpc_port));
        let target = target.map_err(|e| ProcessError::SchedulerAddress { reason: e.to_string() })?;
        let tasks = ExecutorGrpcClient::new(target.connect_timeout(INSIDE_TIMEOUT).connect_lazy())
            // The limits are swapped, because this client sends the messages that the server received.
            .max_encoding_message_size(decoding)
            .max_decoding_message_size(encoding);
        let guard = Guard { tasks, context: Arc::clone(&plugin.context), codec: Arc::clone(&plugin.physical) };
        let guard =
            ExecutorGrpcServer::new(guard).max_decoding_message_size(decoding).max_encoding_message_size(encoding);
        let rows = BallistaFlightService::new(config.work_dir.clone().unwrap_or_default());
        let rows =
            FlightServiceServer::new(rows).max_decoding_message_size(decoding).max_encoding_message_size(encoding);
        let (tasks, rows) = (Routes::new(guard), Routes::new(rows));
        let mut servers = vec![
            serve(SocketAddr::new(outside, config.grpc_port), tasks.clone(), tls).await?,
            serve(SocketAddr::new(bind, config.port), rows, tls).await?,
        ];
        if bind.is_unspecified() {
            for address in named(config, outside).await {
                match serve(address, tasks.clone(), tls).await {
                    Ok(server) => servers.push(server),
                    // The external host may belong to a proxy or a load balancer.
                    Err(error) => tracing::debug!(%address, %error, "cannot bind an address of the external host"),
                }
            }
        }
        config.bind_host = inside.to_string();
        config.override_arrow_flight_service = Some(Arc::new(|_, _, mut shutdown, _| {
            tokio::spawn(async move {
                shutdown.recv().await;
                Ok(())
            })
        }));
        Ok(Self(servers))
    }
}

/// Returns the addresses of the external host, except `outside`.
async fn named(config: &ExecutorProcessConfig, outside: IpAddr) -> Vec<SocketAddr> {
    let Some(host) = &config.external_host else { return Vec::new() };
    let found = tokio::net::lookup_host((host.as_str(), config.grpc_port)).await;
    let mut addresses: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    addresses.retain(|address| address.ip() != outside);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

async fn serve(address: SocketAddr, routes: Routes, tls: Option<&ServerTls>) -> Result<JoinHandle<()>, ProcessError> {
    let listen = |source| ProcessError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let listener = match tls {
        None => Listener::plain(listener),
        Some(tls) => Listener::tls(listener, tls.acceptor()?),
    };
    let server = axum::serve(listener.map_err(listen)?, routes.into_axum_router());
    Ok(tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%address, %error, "the server stopped");
        }
    }))
}

/// The public task service, which checks plans.
struct Guard {
    tasks: ExecutorGrpcClient<Channel>,
    context: Arc<TaskContext>,
    codec: Arc<dyn PhysicalExtensionCodec>,
}

impl Guard {
    /// Decodes a plan with Tusk's checks and refuses plans that would crash Ballista's decoder.
    fn check(&self, job: &str, plan: &[u8]) -> Result<(), Status> {
        decode_plan(plan, &self.context, self.codec.as_ref()).map(drop).map_err(|error| {
            tracing::warn!(job, %error, "refused a task");
            Status::invalid_argument(format!("the plan of job {job} cannot be read: {error}"))
        })
    }
}

#[tonic::async_trait]
impl ExecutorGrpc for Guard {
    async fn launch_task(&self, request: Request<LaunchTaskParams>) -> Result<Response<LaunchTaskResult>, Status> {
        let params = request.into_inner();
        params.tasks.iter().try_for_each(|task| self.check(&task.job_id, &task.plan))?;
        self.tasks.clone().launch_task(params).await
    }

    async fn launch_multi_task(
        &self,
        request: Request<LaunchMultiTaskParams>,
    ) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let mut params = request.into_inner();
        let mut refused = Vec::new();
        params.multi_tasks.retain(|task| {
            let is_valid = self.check(&task.job_id, &task.plan).is_ok();
            if !is_valid {
                refused.push(task.job_id.clone());
            }
            is_valid
        });
        let mut response = self.tasks.clone().launch_multi_task(params).await?;
        response.get_mut().failed_jobs.extend(refused);
        Ok(response)
    }

    async fn stop_executor(
        &self,
        request: Request<StopExecutorParams>,
    ) -> Result<Response<StopExecutorResult>, Status> {
        self.tasks.clone().stop_executor(request.into_inner()).await
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Result<Response<CancelTasksResult>, Status> {
        self.tasks.clone().cancel_tasks(request.into_inner()).await
    }

    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Result<Response<RemoveJobDataResult>, Status> {
        self.tasks.clone().remove_job_data(request.into_inner()).await
    }
}
