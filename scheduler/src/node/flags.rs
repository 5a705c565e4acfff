//! The flags of `tusk-scheduler`: Ballista's flags and Tusk's own.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Command, Parser};
use tokio::net::TcpListener;
use tusk_core::store::{ModelStore, table_runtime};
use tusk_process::logs::LogFormat;
use tusk_process::tls::{ClientTls, ServerTls};
use tusk_udfs::session::session_config;

use crate::access::users;
use crate::node::catalog::Catalog;
use crate::node::{NodeSettings, SchedulerNode};
use crate::session::leftovers;

/// The scheduler of a Tusk cluster: plans SQL, distributes it to executors, and trains models on them.
#[derive(Debug, Parser)]
#[command(name = "tusk-scheduler", version, long_version = tusk_process::version::long(None, None), about, long_about = None)]
pub struct Flags {
    #[command(flatten)]
    tusk: TuskFlags,
    #[command(flatten, next_help_heading = "Ballista")]
    ballista: ballista_scheduler::config::Config,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tusk")]
struct TuskFlags {
    /// Model store: a path that every node sees, or a URL (s3://, gs://, az://).
    #[arg(long, value_name = "URL", default_value = "tusk-store")]
    store: String,
    /// Tables that every client sees: a folder of Parquet files, CSV files and image folders, or a catalog in TOML.
    #[arg(long, value_name = "DIR|FILE")]
    data: Option<PathBuf>,
    /// Folder for CREATE TABLE; every node must see it. Default: the folder `tables` of a store that is a path.
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
    /// Users with argon2 hashes and rights, in TOML. Without it, every client has full access.
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Certificate of this node, PEM. If set, the port accepts TLS only.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// CA that signs the certificates of executors, PEM. If set, executors must present one (mTLS).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Allow addresses other than loopback without users and certificates.
    #[arg(long)]
    insecure_listen: bool,
    /// Threads of a worker, used until an executor reports its own number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: u32,
    /// Time that running requests have to finish after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout_seconds: u64,
    /// Format of the log on stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log filter, in the syntax of tracing's EnvFilter.
    #[arg(long, value_name = "FILTER", default_value = "info,datafusion=warn,ballista=warn,ballista_scheduler=info")]
    log_level: String,
    /// Read a password from stdin, print its line for the users' file, and exit.
    #[arg(long)]
    hash_password: bool,
    /// Print a new bearer token and its line for the users' file, and exit.
    #[arg(long)]
    new_token: bool,
}

impl Flags {
    /// Parses the flags of this process. Exits if they cannot be parsed.
    #[must_use]
    pub fn of_process() -> Self {
        tusk_process::flags::parse_or_exit(defaults)
    }
}

/// Sets defaults for training: the loss of an executor is noticed within seconds, and remote connections are not
/// accepted.
fn defaults(command: Command) -> Command {
    command
        .mut_arg("bind_host", |arg| arg.default_value("127.0.0.1"))
        .mut_arg("executor_timeout_seconds", |arg| arg.default_value("20"))
        .mut_arg("expire_dead_executor_interval_seconds", |arg| arg.default_value("3"))
        .mut_arg("no_executors_grace_period_seconds", |arg| arg.default_value("120"))
        .mut_arg("executor_termination_grace_period", |arg| arg.default_value("10"))
        .mut_arg("scheduler_policy", |arg| arg.default_value("push-staged").hide(true))
        .mut_arg("task_distribution", |arg| arg.hide(true))
        .mut_arg("log_dir", |arg| arg.hide(true))
        .mut_arg("log_level_setting", |arg| arg.hide(true))
        .mut_arg("log_rotation_policy", |arg| arg.hide(true))
        .mut_arg("print_thread_info", |arg| arg.hide(true))
}

/// Runs a scheduler until the process receives a signal to terminate.
///
/// # Errors
/// Returns an error if it cannot start.
pub async fn run(flags: Flags) -> Result<()> {
    let Flags { tusk, ballista } = flags;
    if tusk.hash_password || tusk.new_token {
        return print_secret(&tusk);
    }
    tusk_process::logs::init(tusk.log_format, &tusk.log_level)?;
    let is_guarded = tusk.users.is_some() || tusk.tls_client_ca.is_some();
    let host: IpAddr = match ballista.bind_host.as_str() {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().with_context(|| format!("invalid --bind-host {host}: not an address"))?,
    };
    if !is_guarded && !host.is_loopback() && !tusk.insecure_listen {
        bail!(
            "--bind-host {host} accepts remote connections, but no authentication is configured. Set --users or \
             --tls-client-ca, bind to 127.0.0.1, or set --insecure-listen"
        );
    }
    if !is_guarded {
        tracing::warn!(
            %host,
            "no authentication is configured: every client has full access"
        );
    }
    let listener = TcpListener::bind((host, ballista.bind_port)).await;
    let listener = listener.with_context(|| format!("cannot bind port {} of {host}", ballista.bind_port))?;
    let store = ModelStore::open(&tusk.store)?;
    let tables = tusk.tables.clone().or_else(|| {
        let path = store.url().strip_prefix("file://")?;
        Some(PathBuf::from(path).join("tables"))
    });
    let server_tls = tusk.tls_cert.clone().zip(tusk.tls_key.clone()).map(|(cert, key)| ServerTls {
        cert,
        key,
        client_ca: tusk.tls_client_ca.clone(),
        client_certificate_required: false,
    });
    let client_tls = match (&server_tls, &tusk.tls_client_ca) {
        (Some(tls), Some(ca)) => {
            Some(ClientTls { ca: ca.clone(), identity: Some((tls.cert.clone(), tls.key.clone())) })
        }
        (Some(tls), None) => Some(ClientTls { ca: tls.cert.clone(), identity: None }),
        (None, _) => None,
    };
    let settings = NodeSettings {
        ballista: ballista.try_into().map_err(|e| anyhow::anyhow!("{e}"))?,
        session: session_config(),
        runtime: table_runtime().build_arc()?,
        store,
        threads: tusk.threads,
        catalog: tusk.data.as_deref().map(Catalog::open).transpose()?.unwrap_or_default(),
        tables,
        users: tusk.users.clone(),
        server_tls,
        client_tls,
    };
    let url = settings.store.url().to_owned();
    // Listed before the scheduler starts: these folders belong to no open session.
    let left = settings.tables.as_deref().map(leftovers).transpose();
    let left = left.context("cannot read the folder of CREATE TABLE (--tables)")?.unwrap_or_default();
    let node = SchedulerNode::start(listener, settings).await?;
    tracing::info!(address = %node.address(), store = url, "tusk-scheduler {} started", env!("CARGO_PKG_VERSION"));
    let (resumed, refused) = node.training().resume_all().await?;
    if resumed > 0 {
        tracing::info!(runs = resumed, "resumed runs from their last checkpoints");
    }
    // The folders stay while there are interrupted runs, which may read the tables of closed sessions.
    if resumed + refused == 0 {
        left.iter().for_each(|folder| remove(folder));
    }
    tusk_process::signal::terminated().await?;
    tracing::info!("draining");
    node.drain(Duration::from_secs(tusk.drain_timeout_seconds)).await;
    tracing::info!("stopped");
    Ok(())
}

/// Removes the tables of a closed session.
fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => tracing::info!(folder = %folder.display(), "removed the tables of a closed session"),
        Err(error) => tracing::warn!(%error, folder = %folder.display(), "failed to remove old tables"),
    }
}

#[expect(clippy::print_stdout, reason = "the flag asks for this output")]
fn print_secret(flags: &TuskFlags) -> Result<()> {
    if flags.new_token {
        let (token, hash) = users::new_token();
        println!("token = \"{hash}\"\n# the token itself; it cannot be recovered from the hash:\n# {token}");
    } else {
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password)?;
        println!("password = \"{}\"", users::hash_password(password.trim_end_matches(['\n', '\r']))?);
    }
    Ok(())
}
