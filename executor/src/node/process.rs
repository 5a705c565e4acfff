//! Runs the process `tusk-executor`. It contains Ballista's executor process and restarts it when it gives up on a
//! scheduler that cannot be reached. The shards stay in memory.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use ballista_core::error::BallistaError;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::executor_server::TERMINATING;
use ballista_executor::health::ExecutorHealth;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tusk_process::{health, logs, metrics, signal};

use crate::node::error::ProcessError;
use crate::node::flags::Flags;
use crate::node::plugin::{Plugin, install};
use crate::node::ports::{Ports, facing};
use crate::node::reporter::start_reporting;

/// How long to wait before Ballista's process is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often to check whether Ballista's process gave up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The number of threads for Ballista's servers. Tasks run on other threads.
const SERVER_THREADS: usize = 2;

fn io(what: &'static str) -> impl Fn(std::io::Error) -> ProcessError {
    move |source| ProcessError::Io { what, source }
}

/// Runs an executor until the process receives a signal to stop.
///
/// # Errors
/// When the executor cannot start, or cannot register with the scheduler in time.
pub async fn run(flags: Flags) -> Result<(), ProcessError> {
    logs::init(flags.tusk.log_format, &flags.tusk.log_level)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if flags.ballista.vcores == 0 { processors } else { flags.ballista.vcores };
    let plugin = Arc::new(Plugin::new(&flags.tusk.plugin(threads))?);
    plugin.register(prometheus::default_registry())?;

    let health_port = flags.ballista.bind_health_port;
    let connect_seconds = flags.ballista.scheduler_connect_timeout_seconds;
    let mut config: ExecutorProcessConfig =
        flags.ballista.try_into().map_err(|e| ProcessError::Ballista { source: Box::new(e) })?;
    let _work_dir = work_dir(&mut config)?;
    let mut config = install(config, &plugin);
    // The scheduler reserves a vcore for each worker, so that queries and training do not wait for each other.
    config.vcores = threads + plugin.workers();
    // Ballista would wait without end. The time limit is enforced here.
    config.scheduler_connect_timeout_seconds = 0;

    let bind = bind_address(&config)?;
    let outside = if bind.is_unspecified() { facing_address(&config, connect_seconds).await? } else { bind };
    let tls = flags.tusk.server_tls();
    let _ports = Ports::open(&mut config, &plugin, (bind, outside), tls.as_ref()).await?;
    if tls.is_none() && !bind.is_loopback() {
        tracing::warn!(
            %bind, "no certificates are configured: every host that reaches the ports can run tasks. Set --tls-cert, \
                    --tls-key and --tls-ca, or restrict the ports to the cluster"
        );
    }
    let is_draining = Arc::new(AtomicBool::new(false));
    let _http = serve_http(SocketAddr::new(bind, health_port), &config.health, &is_draining).await?;
    let host = config.external_host.clone().unwrap_or_else(|| outside.to_string());
    let reporter = start_reporting(&plugin, &config, &host)
        .map_err(|e| ProcessError::SchedulerAddress { reason: e.to_string() })?;
    tracing::info!(
        executor = %config.executor_id, %host, workers = plugin.workers(), vcores = config.vcores,
        scheduler = %format!("{}:{}", config.scheduler_host, config.scheduler_port), "executor starts"
    );
    let drain = Duration::from_secs(flags.tusk.drain_timeout_seconds);
    let result = run_until_signal(Arc::new(config), connect_seconds, drain, &is_draining).await;
    reporter.abort();
    result
}

/// Creates the folder for shuffle files: the configured one, or a temporary one that is deleted when the process ends.
fn work_dir(config: &mut ExecutorProcessConfig) -> Result<Option<TempDir>, ProcessError> {
    if let Some(folder) = &config.work_dir {
        std::fs::create_dir_all(folder).map_err(io("cannot create --work-dir"))?;
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("tusk-executor-").tempdir();
    let folder = folder.map_err(io("cannot create a folder for shuffle files; set --work-dir"))?;
    config.work_dir = Some(folder.path().display().to_string());
    Ok(Some(folder))
}

fn bind_address(config: &ExecutorProcessConfig) -> Result<IpAddr, ProcessError> {
    let host = config.bind_host.clone();
    host.parse().map_err(|source| ProcessError::BindHost { host, source })
}

/// Returns the address of this machine from which it reaches the scheduler. It retries, because the name of a scheduler
/// that starts later, as with Docker Compose, cannot be resolved yet.
async fn facing_address(config: &ExecutorProcessConfig, connect_seconds: u16) -> Result<IpAddr, ProcessError> {
    let deadline = Instant::now() + Duration::from_secs(connect_seconds.into());
    loop {
        match facing(&config.scheduler_host, config.scheduler_port) {
            Ok(address) => return Ok(address),
            Err(error) if Instant::now() >= deadline => {
                let reason = format!("{}: {error}", config.scheduler_host);
                return Err(ProcessError::SchedulerAddress { reason });
            }
            Err(error) => {
                tracing::warn!(host = config.scheduler_host, %error, "cannot resolve the scheduler's host yet")
            }
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Serves /healthz, /readyz and /metrics.
async fn serve_http(
    address: SocketAddr,
    health: &ExecutorHealth,
    is_draining: &Arc<AtomicBool>,
) -> Result<JoinHandle<()>, ProcessError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ProcessError::Listen { address, source })?;
    let (health, is_draining) = (health.clone(), Arc::clone(is_draining));
    let ready = move || {
        if is_draining.load(Ordering::Relaxed) {
            return Err("the executor stops when its tasks finish".to_owned());
        }
        if health.is_ready() { Ok(()) } else { Err("the scheduler does not respond to heartbeats".to_owned()) }
    };
    let router: Router = health::routes(ready).merge(metrics::routes(|| {}));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server stopped");
        }
    }))
}

/// Ballista's executor process on its own runtime. Dropping this stops everything that runs on it.
struct Process {
    runtime: Option<Runtime>,
    task: JoinHandle<Result<(), BallistaError>>,
}

impl Process {
    fn start(config: &Arc<ExecutorProcessConfig>) -> Result<Self, ProcessError> {
        // The flag may be set by an earlier process.
        TERMINATING.store(false, Ordering::Release);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(SERVER_THREADS)
            .thread_name("ballista")
            .enable_all()
            .build()
            .map_err(io("cannot start threads"))?;
        let task = runtime.spawn(start_executor_process(Arc::clone(config)));
        Ok(Self { runtime: Some(runtime), task })
    }

    /// Waits until the process ends or gives up, and returns the reason. After some heartbeats without a response,
    /// Ballista closes its ports and waits for its connections to end, which may never happen.
    async fn ended(&mut self, config: &ExecutorProcessConfig) -> String {
        let gave_up = async {
            let mut was_open = false;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if config.health.is_ready() {
                    was_open = true;
                    continue;
                }
                let is_open = TcpStream::connect(own_address(config)).await.is_ok();
                if was_open && !is_open {
                    return;
                }
                was_open |= is_open;
            }
        };
        tokio::select! {
            ended = &mut self.task => match ended {
                Ok(Ok(())) => "disconnected or rejected by the scheduler".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            },
            () = gave_up => "the scheduler did not respond to heartbeats".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The address on which Ballista's task service listens.
fn own_address(config: &ExecutorProcessConfig) -> (IpAddr, u16) {
    let bind: IpAddr = config.bind_host.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    (if bind.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { bind }, config.grpc_port)
}

/// Runs Ballista's executor process until a signal arrives, and restarts it when it ends. It waits `connect_seconds`
/// for the first registration with the scheduler. Later it waits for the scheduler without a limit.
async fn run_until_signal(
    config: Arc<ExecutorProcessConfig>,
    connect_seconds: u16,
    drain: Duration,
    is_draining: &AtomicBool,
) -> Result<(), ProcessError> {
    let mut signal = pin!(signal::terminated());
    let deadline = Instant::now() + Duration::from_secs(connect_seconds.into());
    let mut was_ready = false;
    loop {
        let mut process = Process::start(&config)?;
        let reason = tokio::select! {
            biased;
            received = &mut signal => {
                received.map_err(io("cannot install the signal handler"))?;
                is_draining.store(true, Ordering::Relaxed);
                // Without a scheduler no tasks run, and Ballista handles signals only while it is registered.
                if config.health.is_ready() {
                    drain_tasks(&mut process.task, drain).await;
                }
                return Ok(());
            }
            reason = watch_ready(&config.health, &mut was_ready, process.ended(&config)) => reason,
        };
        drop(process);
        config.health.mark_heartbeat_failed();
        if !was_ready && Instant::now() >= deadline {
            let address = format!("{}:{}", config.scheduler_host, config.scheduler_port);
            return Err(ProcessError::Scheduler { address, seconds: connect_seconds, reason });
        }
        tracing::warn!(%reason, "not registered with the scheduler, will retry");
        tokio::select! {
            _ = &mut signal => return Ok(()),
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
    }
}

/// Waits for `ended`, and sets `was_ready` if the executor becomes ready in the meantime.
async fn watch_ready(health: &ExecutorHealth, was_ready: &mut bool, ended: impl Future<Output = String>) -> String {
    let mut ended = pin!(ended);
    loop {
        *was_ready |= health.is_ready();
        tokio::select! {
            reason = &mut ended => return reason,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Waits until running tasks finish. Ballista handles the same signal: it accepts no more tasks, informs the scheduler,
/// and ends after its last task.
async fn drain_tasks(task: &mut JoinHandle<Result<(), BallistaError>>, limit: Duration) {
    tracing::info!(
        seconds_max = limit.as_secs(),
        "shutting down when running tasks finish; a second signal stops at once"
    );
    tokio::select! {
        _ = task => tracing::info!("executor ended"),
        () = tokio::time::sleep(limit) => tracing::warn!("tasks did not finish in time and run again on other \
                                                          executors"),
        _ = signal::terminated() => tracing::warn!("stopped at once; tasks run again on other executors"),
    }
}
