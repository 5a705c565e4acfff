//! The subcommands of `tusk`. Results go to stdout, progress and errors to stderr.
#![expect(clippy::print_stderr, reason = "a command line prints")]

mod cells;
mod commands;
mod completion;
mod connection;
mod demo;
mod draw;
mod format;
mod ingest;
mod progress;
mod script;
mod shell;
mod sql;
mod table;
mod top;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use datafusion::error::DataFusionError;
use tracing_subscriber::EnvFilter;
use tusk::{ContextOptions, Credentials};
use tusk_core::cause::Cause;
use tusk_process::tls::ClientTls;

/// The error of a build without the feature `embedded` when a command needs an embedded cluster.
const NO_EMBEDDED_CLUSTER: &str =
    "this build of tusk has no embedded cluster; use --scheduler, or a build with the feature `embedded`";

/// Train and use image classifiers with SQL on a Ballista cluster.
#[derive(Debug, Parser)]
#[command(name = "tusk", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run SQL: statements, files, or an interactive shell.
    Sql(sql::SqlArguments),
    /// Convert folders of images to one Parquet file, labelled and shuffled.
    Ingest(ingest::IngestArguments),
    /// Write synthetic X-rays to a Parquet file, as sample data.
    Draw(draw::DrawArguments),
    /// Show the activity of a cluster, refreshed every second.
    Top(top::TopArguments),
    /// Run a complete example on synthetic X-rays.
    Demo(demo::DemoArguments),
}

/// The model store and the cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArguments {
    /// Model store of the embedded cluster: a folder or a URL.
    #[arg(long, env = "TUSK_STORE", default_value = "tusk-store")]
    pub(crate) store: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    /// Threads of the embedded executor. Models are bit-identical only for the same number.
    #[arg(long, env = "TUSK_THREADS")]
    pub(crate) threads: Option<usize>,
}

/// A remote cluster and its credentials.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Remote cluster options")]
pub(crate) struct RemoteArguments {
    /// Address of a scheduler (df://host:50050) to use instead of the embedded cluster.
    #[arg(long, value_name = "URL", env = "TUSK_SCHEDULER")]
    pub(crate) scheduler: Option<String>,
    /// User name.
    #[arg(long, value_name = "NAME", env = "TUSK_USER", requires = "password")]
    user: Option<String>,
    /// Password. Prefer the environment variable: other users can see the command line.
    #[arg(long, env = "TUSK_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Bearer token instead of a user. Prefer the environment variable.
    #[arg(long, env = "TUSK_TOKEN", hide_env_values = true, conflicts_with = "user")]
    token: Option<String>,
    /// CA that signed the scheduler's certificate, PEM. If set, the connection uses TLS.
    #[arg(long, value_name = "FILE", env = "TUSK_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// Client certificate, PEM.
    #[arg(long, value_name = "FILE", env = "TUSK_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the client certificate, PEM.
    #[arg(long, value_name = "FILE", env = "TUSK_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl std::fmt::Debug for RemoteArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteArguments").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

impl RemoteArguments {
    /// Copies the credentials and the TLS settings into the options of a context.
    pub(crate) fn put_into(&self, options: &mut ContextOptions) {
        options.credentials = match (&self.token, self.user.clone().zip(self.password.clone())) {
            (Some(token), _) => Credentials::Token(token.clone()),
            (None, Some((user, password))) => Credentials::Password { user, password },
            (None, None) => Credentials::Nobody,
        };
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        options.tls = self.tls_ca.clone().map(|ca| ClientTls { ca, identity });
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let result = match arguments.command {
        Command::Sql(arguments) => Box::pin(sql::run(arguments)).await,
        Command::Ingest(arguments) => Box::pin(ingest::run(arguments)).await,
        Command::Draw(arguments) => tokio::task::spawn_blocking(move || draw::run(arguments)).await?,
        Command::Top(arguments) => Box::pin(top::run(arguments)).await,
        Command::Demo(arguments) => Box::pin(demo::run(arguments)).await,
    };
    result.or_else(|error| if output_is_closed(&error) { Ok(()) } else { Err(error) })
}

/// Prints an error and its causes.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut messages = messages(error).into_iter();
    eprintln!("tusk: {}", messages.next().unwrap_or_default());
    messages.for_each(|cause| eprintln!("  because: {cause}"));
}

/// The messages of the error and of its causes, without repetitions.
fn messages(error: &anyhow::Error) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        // This cause repeats its wrapper's message.
        let boxed = || cause.downcast_ref::<Box<DataFusionError>>().map(AsRef::as_ref);
        let cause = match cause.downcast_ref::<DataFusionError>().or_else(boxed) {
            Some(error) => Cause::of(error).to_string(),
            None => cause.to_string(),
        };
        if !messages.iter().any(|said| said.contains(&cause)) {
            messages.push(cause);
        }
    }
    messages
}

/// Whether the reader of the output has closed it, as in `tusk sql ... | head`.
fn output_is_closed(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<std::io::Error>();
    io_error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Writes logs to stderr. By default only warnings are logged; `RUST_LOG` overrides this.
pub(crate) fn log_to_stderr() {
    // The statement that started a run reports its end.
    let quiet = "warn,tusk_scheduler::service=error,ballista=error,ballista_core=off,ballista_scheduler=error,\
        ballista_executor=error,datafusion=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

pub(crate) type PathArgument = PathBuf;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_repeats_its_wrapper_is_not_shown() {
        let error = anyhow::anyhow!("no field x").context("planning: no field x").context("statement 2 failed");
        assert_eq!(messages(&error), ["statement 2 failed", "planning: no field x"]);
        let cast = Cause::of_text("Cast error: Cannot cast string 'x'").to_wire();
        let job = DataFusionError::Execution(format!("Job 1 failed: DataFusionError(Execution({cast:?}))"));
        let error = anyhow::Error::from(tusk::Error::from(job)).context("statement 2 failed");
        assert_eq!(messages(&error), ["statement 2 failed", "Cast error: Cannot cast string 'x'"]);
    }

    #[test]
    fn a_closed_output_is_no_error() {
        let error = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(output_is_closed(&error().into()));
        assert!(output_is_closed(&anyhow::Error::from(error()).context("statement 1 failed")));
        assert!(!output_is_closed(&std::io::Error::from(std::io::ErrorKind::NotFound).into()));
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
