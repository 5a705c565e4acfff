//! A scheduler and executors, each a process of its own on this machine.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::say::say;

/// Two, so that rows travel between them.
const EXECUTORS: usize = 2;

/// Tasks that an executor runs at a time.
const VCORES: usize = 2;

/// The longest time until all processes are ready.
const START_MAX: Duration = Duration::from_secs(120);

/// The interval between two looks at a process that starts.
const POLL: Duration = Duration::from_millis(100);

/// The most bytes of an answer over HTTP.
const HTTP_BYTES_MAX: u64 = 1 << 20;

/// A cluster that is started with the first session, and again if one of its processes has ended.
pub(crate) struct Cluster {
    /// The folder of the programs.
    programs: PathBuf,
    /// The working directory of the processes.
    home: PathBuf,
    /// The folder for the store, the shuffle files and the logs.
    folder: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    port: u16,
    // Executors are ended first: without a scheduler they log errors.
    executors: Vec<Process>,
    scheduler: Process,
}

struct Process {
    name: String,
    child: Child,
    /// The port for its health and metrics.
    http_port: u16,
    log: PathBuf,
}

impl Cluster {
    pub(crate) fn new(programs: PathBuf, home: PathBuf, folder: PathBuf) -> Self {
        Self { programs, home, folder, running: Mutex::new(None) }
    }

    /// The port of the scheduler. Starts the cluster if it does not run.
    pub(crate) async fn port(&self) -> Result<u16> {
        let mut running = self.running.lock().await;
        if let Some(cluster) = running.as_mut() {
            match cluster.ended()? {
                None => return Ok(cluster.port),
                Some(message) => say(&format!("cluster: {message}; starting a new cluster")),
            }
        }
        // First ended, then started: the store is the same.
        *running = None;
        let cluster = Box::pin(self.start()).await?;
        let port = cluster.port;
        *running = Some(cluster);
        Ok(port)
    }

    async fn start(&self) -> Result<Running> {
        let ports = free_ports(1 + 3 * EXECUTORS)?;
        let Some((&port, others)) = ports.split_first() else { bail!("no free ports") };
        let flags = [format!("--bind-port={port}"), "--log-level=warn".to_owned()];
        let mut scheduler = self.spawn("tusk-scheduler", "scheduler", port, &flags)?;
        let deadline = Instant::now() + START_MAX;
        scheduler.wait_for("/healthz", "", deadline).await?;
        let mut executors = Vec::new();
        for (index, ports) in others.chunks_exact(3).enumerate() {
            let name = format!("executor-{index}");
            let flags = [
                format!("--scheduler-port={port}"),
                format!("--bind-port={}", ports[0]),
                format!("--bind-grpc-port={}", ports[1]),
                format!("--bind-health-port={}", ports[2]),
                format!("--work-dir={}", self.made(&format!("{name}-work"))?.display()),
                format!("--cache-dir={}", self.made(&format!("{name}-cache"))?.display()),
                format!("--vcores={VCORES}"),
                "--scheduler-host=127.0.0.1".to_owned(),
                "--external-host=127.0.0.1".to_owned(),
                "--devices=cpu".to_owned(),
                "--log-level=warn".to_owned(),
            ];
            executors.push(self.spawn("tusk-executor", &name, ports[2], &flags)?);
        }
        for executor in &mut executors {
            executor.wait_for("/readyz", "", deadline).await?;
        }
        scheduler.wait_for("/metrics", &format!("tusk_scheduler_executors {EXECUTORS}"), deadline).await?;
        Ok(Running { port, executors, scheduler })
    }

    fn made(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    fn spawn(&self, program: &str, name: &str, http_port: u16, flags: &[String]) -> Result<Process> {
        let path = self.programs.join(program);
        let log = self.folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        let mut command = Command::new(&path);
        for variable in tusk_variables() {
            command.env_remove(variable);
        }
        let child = command
            .arg("--bind-host=127.0.0.1")
            .arg(format!("--store={}", self.folder.join("store").display()))
            .args(flags)
            .env("TMPDIR", &self.folder)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn();
        let child = child.with_context(|| format!("cannot start {}; `make build` builds it", path.display()))?;
        Ok(Process { name: name.to_owned(), child, http_port, log })
    }
}

impl Running {
    /// Which process has ended, if one has.
    fn ended(&mut self) -> Result<Option<String>> {
        for process in self.executors.iter_mut().chain([&mut self.scheduler]) {
            if let Some(status) = process.child.try_wait()? {
                return Ok(Some(format!("{} ended ({status}); its log is {}", process.name, process.log.display())));
            }
        }
        Ok(None)
    }
}

impl Process {
    /// Waits until an address of the process answers with status 200 and with a text.
    async fn wait_for(&mut self, path: &str, text: &str, deadline: Instant) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) while it started; its log is {}", self.name, self.log.display());
            }
            let answer = tokio::time::timeout(Duration::from_secs(5), get(self.http_port, path)).await;
            if matches!(answer, Ok(Ok(answer)) if is_200(&answer) && answer.contains(text)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = START_MAX.as_secs();
                bail!("{} was not ready within {seconds} s; its log is {}", self.name, self.log.display());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Variables that would set flags of the processes.
fn tusk_variables() -> Vec<OsString> {
    let is_ours = |name: &OsString| name.to_string_lossy().starts_with("TUSK_");
    std::env::vars_os().map(|(name, _)| name).filter(is_ours).collect()
}

/// Ports of the loopback interface that are free now.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    // All are open at once, so that they differ.
    let listeners = listeners.collect::<std::io::Result<Vec<_>>>().context("no free port on the loopback interface")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The whole answer to a GET.
async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(HTTP_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_200(answer: &str) -> bool {
    answer.split_whitespace().nth(1) == Some("200")
}
