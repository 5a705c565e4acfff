//! The commands. Results go to stdout, progress and errors to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod completion;
mod demo;
mod format;
mod ingest;
mod progress;
mod shell;
mod sql;
mod statements;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Image classifiers by SQL on a Ballista cluster.
#[derive(Debug, Parser)]
#[command(name = "tusk", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run SQL: a statement, a file, or a shell.
    Sql(sql::SqlArguments),
    /// Images in folders to one Parquet file, shuffled and labelled.
    Ingest(ingest::IngestArguments),
    /// The whole tour on X-rays that it draws itself.
    Demo(demo::DemoArguments),
}

/// Where models are kept, and which cluster works.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArguments {
    /// The model store: a folder or a URL.
    #[arg(long, env = "TUSK_STORE", default_value = "tusk-store")]
    pub(crate) store: String,
    /// A scheduler (df://host:50050) instead of the embedded cluster.
    #[arg(long)]
    pub(crate) scheduler: Option<String>,
    /// Threads of the embedded executor. Models are the same to the bit only for the same number.
    #[arg(long, env = "TUSK_THREADS")]
    pub(crate) threads: Option<usize>,
}

/// Runs a command.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Sql(arguments) => sql::run(arguments).await,
        Command::Ingest(arguments) => tokio::task::spawn_blocking(move || ingest::run(arguments)).await?,
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}

/// Shows an error and its causes.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("tusk: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !error.to_string().contains(&cause) {
            eprintln!("  because: {cause}");
        }
    }
}

/// Logs to stderr; quiet unless `RUST_LOG` says otherwise.
pub(crate) fn log_to_stderr() {
    let quiet = "warn,ballista=error,ballista_core=off,ballista_scheduler=error,ballista_executor=error,datafusion=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// A path as an argument.
pub(crate) type PathArgument = PathBuf;
