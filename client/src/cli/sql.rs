//! `tusk sql`: statements from the command line, a file, or a shell.

use anyhow::{Context, Result};
use tusk::{ContextOptions, Results, TuskContext};
use tusk_core::sql::{ModelStatement, Statement, parse};

use super::format::{Format, Printer};
use super::{ClusterArguments, PathArgument, progress};

/// Arguments of `tusk sql`.
#[derive(Debug, clap::Args)]
pub(crate) struct SqlArguments {
    /// Statements to run, separated by semicolons.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Files of statements to run.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathArgument>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Runs `tusk sql`.
pub(crate) async fn run(arguments: SqlArguments) -> Result<()> {
    let mut scripts = arguments.commands.clone();
    for file in &arguments.files {
        scripts.push(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let context = connect(&arguments.cluster).await?;
    for script in scripts {
        run_script(&context, &script, arguments.format).await?;
    }
    Ok(())
}

/// A context on the cluster that the arguments name.
pub(crate) async fn connect(arguments: &ClusterArguments) -> Result<TuskContext> {
    let mut options = ContextOptions { store: arguments.store.clone(), ..ContextOptions::default() };
    options.on_event = Some(progress::on_event());
    if let Some(threads) = arguments.threads {
        options.threads = threads.max(1);
    }
    Ok(match &arguments.scheduler {
        Some(url) => TuskContext::remote_with(url, options).await?,
        None => TuskContext::embedded_with(options).await?,
    })
}

/// Runs all statements of a script, and stops at the first that fails.
pub(crate) async fn run_script(context: &TuskContext, script: &str, format: Format) -> Result<()> {
    for statement in parse(script)? {
        let live = matches!(&statement, Statement::Model(ModelStatement::Create { explain: false, .. }));
        let results = context.execute(statement).await?;
        print(results, format, live).await?;
    }
    Ok(())
}

/// Prints rows as they come. Ctrl-C ends the statement; a training run is asked to stop and waited for.
async fn print(mut results: Results, format: Format, live: bool) -> Result<()> {
    let mut printer = Printer::new(format, results.schema(), live);
    let cancel = results.cancellation();
    loop {
        tokio::select! {
            batch = results.next() => match batch? {
                Some(batch) => printer.push(batch)?,
                None => break,
            },
            _ = tokio::signal::ctrl_c() => match &cancel {
                Some(cancel) => cancel.cancel(),
                None => anyhow::bail!("interrupted"),
            },
        }
    }
    printer.finish()
}
