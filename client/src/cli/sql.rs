//! `tusk sql`: runs statements from the command line, a file, or a shell.

use std::io::{IsTerminal, Read, stdin};
use std::time::Instant;

use anyhow::{Context, Result};
use tusk::{ContextOptions, Results, TuskContext};
use tusk_core::protocol::epoch_schema;

use super::format::{Format, Printer};
use super::progress::Progress;
use super::script::{Piece, split};
use super::{ClusterArguments, PathArgument, shell};

/// The name of a script from the command line in error messages.
const COMMAND: &str = "-c";

/// Arguments of `tusk sql`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without -c and -f, a shell starts. If there is no terminal, the script is read from stdin.")]
pub(crate) struct SqlArguments {
    /// Statements to run, separated by semicolons.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Files of statements to run, after the statements of -c.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathArgument>,
    /// Output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn run(arguments: SqlArguments) -> Result<()> {
    let SqlArguments { commands, files, format, cluster } = arguments;
    if commands.is_empty() && files.is_empty() && stdin().is_terminal() {
        return shell::run(&Connection::open(&cluster).await?, format).await;
    }
    let mut scripts: Vec<Script> = commands.into_iter().map(|text| Script { name: COMMAND.to_owned(), text }).collect();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        scripts.push(Script { name: file.display().to_string(), text });
    }
    if scripts.is_empty() {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("cannot read standard input as text")?;
        scripts.push(Script { name: "standard input".to_owned(), text });
    }
    let statements: Vec<Vec<Piece<'_>>> = scripts.iter().map(|script| split(&script.text)).collect();
    let is_one = statements.iter().map(Vec::len).sum::<usize>() <= 1;
    let connection = Connection::open(&cluster).await?;
    // Parse all statements before the first one runs, so that a syntax error does not cost an hour of training.
    for is_check in [true, false].into_iter().skip(usize::from(is_one)) {
        for (script, pieces) in scripts.iter().zip(&statements) {
            for (index, piece) in pieces.iter().enumerate() {
                let sql = piece.in_its_place();
                let outcome = match is_check {
                    true => connection.context.check(&sql).await.map_err(Into::into),
                    false => connection.run(&sql, format).await.map(drop),
                };
                script.named(outcome, index + 1, pieces)?;
            }
        }
    }
    Ok(())
}

/// Statements that run one after the other.
struct Script {
    name: String,
    text: String,
}

impl Script {
    /// Adds the position of a failed statement to its error, unless it is the only statement of the command line.
    fn named(&self, outcome: Result<()>, number: usize, pieces: &[Piece<'_>]) -> Result<()> {
        let total = pieces.len();
        if self.name == COMMAND && total == 1 {
            return outcome;
        }
        let place = |piece: &Piece<'_>| {
            format!("{}, line {}, statement {number} of {total} failed: {}", self.name, piece.line, piece.beginning())
        };
        outcome.with_context(|| pieces.get(number - 1).map(place).unwrap_or_default())
    }
}

/// A context and the progress display of its runs.
pub(crate) struct Connection {
    pub(crate) context: TuskContext,
    progress: Progress,
}

/// The outcome of a statement.
pub(crate) struct Outcome {
    /// The number of printed rows.
    pub(crate) rows: usize,
    /// Whether the statement has a result with columns.
    pub(crate) has_columns: bool,
    /// Wall time in seconds.
    pub(crate) seconds: f64,
}

/// Ctrl-C ended a statement.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

impl Connection {
    /// Opens a context on the cluster that the arguments name.
    pub(crate) async fn open(arguments: &ClusterArguments) -> Result<Self> {
        let progress = Progress::default();
        let mut options = match &arguments.remote.scheduler {
            // A remote cluster has its own store and cache.
            Some(_) => ContextOptions::default(),
            None => ContextOptions { store: arguments.store.clone(), ..ContextOptions::from_env()? },
        };
        options.on_event = Some(progress.on_event());
        if let Some(threads) = arguments.threads {
            options.threads = threads.max(1);
        }
        arguments.remote.put_into(&mut options);
        let context = match &arguments.remote.scheduler {
            Some(url) => TuskContext::remote_with(url, options).await?,
            None => embedded(options).await?,
        };
        Ok(Self { context, progress })
    }

    /// Runs a statement and prints its rows. Ctrl-C ends it. If the statement trains, Ctrl-C cancels the run and waits
    /// for its end.
    pub(crate) async fn run(&self, sql: &str, format: Format) -> Result<Outcome> {
        let start = Instant::now();
        let printed = Box::pin(self.run_and_print(sql, format)).await;
        self.progress.clear();
        let (rows, has_columns) = printed?;
        Ok(Outcome { rows, has_columns, seconds: start.elapsed().as_secs_f64() })
    }

    async fn run_and_print(&self, sql: &str, format: Format) -> Result<(usize, bool)> {
        let mut results = tokio::select! {
            results = self.context.sql(sql) => results?,
            _ = tokio::signal::ctrl_c() => {
                self.progress.interrupted();
                return Err(Interrupted.into());
            }
        };
        let schema = results.schema();
        let has_columns = !schema.fields().is_empty();
        // CREATE MODEL prints each epoch as soon as it is finished.
        let live = schema == epoch_schema();
        let mut printer = Printer::new(format, schema, live);
        let end = self.print(&mut results, &mut printer).await;
        match end {
            // Finish a started table before showing the error.
            Err(error) if live => printer.finish().and(Err(error)),
            Err(error) => Err(error),
            Ok(()) => {
                let rows = printer.finish()?;
                if live && rows == 0 {
                    self.progress.clear();
                    self.progress.line("no epoch was trained: the model exists already");
                }
                Ok((rows, has_columns))
            }
        }
    }

    async fn print(&self, results: &mut Results, printer: &mut Printer) -> Result<()> {
        let cancel = results.cancellation();
        loop {
            tokio::select! {
                batch = results.next() => match batch? {
                    Some(batch) => printer.push(batch)?,
                    None => return Ok(()),
                },
                _ = tokio::signal::ctrl_c() => {
                    self.progress.interrupted();
                    match &cancel {
                        Some(cancel) if !cancel.is_cancelled() => {
                            self.progress.line("stopping the training run; press Ctrl-C again to stop waiting");
                            cancel.cancel();
                        }
                        _ => return Err(Interrupted.into()),
                    }
                }
            }
        }
    }
}

#[cfg(feature = "embedded")]
async fn embedded(options: ContextOptions) -> Result<TuskContext> {
    Ok(TuskContext::embedded_with(options).await?)
}

#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "the variant with the feature is async")]
async fn embedded(_options: ContextOptions) -> Result<TuskContext> {
    anyhow::bail!(super::NO_EMBEDDED_CLUSTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_script_line_and_statement() {
        let text = "SELECT 1;\n\nCREATE MODEL m\n  TRAIN FROM t;".to_owned();
        let script = Script { name: "train.sql".to_owned(), text };
        let outcome = Err(anyhow::anyhow!("syntax error"));
        let error = script.named(outcome, 2, &split(&script.text)).unwrap_err();
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(chain, ["train.sql, line 3, statement 2 of 2 failed: CREATE MODEL m TRAIN FROM t", "syntax error"]);
    }
}
