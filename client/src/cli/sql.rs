//! `tusk sql`: statements from the command line, a file, or a shell.

use std::io::{IsTerminal, Read, stdin};
use std::time::Instant;

use anyhow::{Context, Result};
use tusk::{ContextOptions, Results, TuskContext};
use tusk_core::sql::{ModelStatement, Statement};

use super::format::{Format, Printer};
use super::progress::Progress;
use super::statements::{Piece, split};
use super::{ClusterArguments, PathArgument, shell};

/// How errors call scripts of the command line.
const COMMAND: &str = "-c";

/// Arguments of `tusk sql`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without -c and -f a shell starts, or where there is no terminal the script is read from stdin."
)]
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

/// Runs `tusk sql`.
pub(crate) async fn run(arguments: SqlArguments) -> Result<()> {
    let SqlArguments { commands, files, format, cluster } = arguments;
    if commands.is_empty() && files.is_empty() && stdin().is_terminal() {
        return shell::run(&Connection::open(&cluster).await?, format).await;
    }
    let mut scripts: Vec<Script> = commands.into_iter().map(|text| Script { name: COMMAND.to_owned(), text }).collect();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        scripts.push(Script { name: file.display().to_string(), text });
    }
    if scripts.is_empty() {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("standard input cannot be read as text")?;
        scripts.push(Script { name: "standard input".to_owned(), text });
    }
    // All of it is parsed before anything runs: a comma that is missing below does not cost an hour of training.
    let parsed = scripts.iter().map(Script::parse).collect::<Result<Vec<_>>>()?;
    let connection = Connection::open(&cluster).await?;
    for (script, statements) in scripts.iter().zip(parsed) {
        let total = statements.len();
        for (index, (piece, statement)) in statements.into_iter().enumerate() {
            let place = || script.place(index + 1, total, &piece);
            let outcome = connection.run(statement, format).await;
            if script.is_one_command(total) { outcome } else { outcome.with_context(place) }?;
        }
    }
    Ok(())
}

/// Statements to run one after the other.
struct Script {
    name: String,
    text: String,
}

impl Script {
    fn parse(&self) -> Result<Vec<(Piece<'_>, Statement)>> {
        let pieces = split(&self.text);
        let total = pieces.len();
        let mut statements = Vec::with_capacity(total);
        for (index, piece) in pieces.into_iter().enumerate() {
            let parsed = piece.parse();
            let place = || self.place(index + 1, total, &piece);
            let parsed = if self.is_one_command(total) { parsed } else { parsed.with_context(place) }?;
            statements.extend(parsed.into_iter().map(|statement| (piece, statement)));
        }
        Ok(statements)
    }

    /// Whether it is one statement of the command line: an error needs not say which one failed.
    fn is_one_command(&self, statements: usize) -> bool {
        self.name == COMMAND && statements == 1
    }

    /// How errors call a statement.
    fn place(&self, number: usize, total: usize, piece: &Piece<'_>) -> String {
        format!("{}, line {}, statement {number} of {total} failed: {}", self.name, piece.line, piece.beginning())
    }
}

/// A context and what shows its runs.
pub(crate) struct Connection {
    pub(crate) context: TuskContext,
    progress: Progress,
}

/// What a statement gave.
pub(crate) struct Outcome {
    /// Rows that were printed.
    pub(crate) rows: usize,
    /// Whether it is a statement that gives rows at all.
    pub(crate) has_columns: bool,
    /// Wall time in seconds.
    pub(crate) seconds: f64,
}

/// Ctrl-C ended a statement.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

impl Connection {
    /// A context on the cluster that the arguments name.
    pub(crate) async fn open(arguments: &ClusterArguments) -> Result<Self> {
        let progress = Progress::default();
        let mut options = ContextOptions { store: arguments.store.clone(), ..ContextOptions::default() };
        options.on_event = Some(progress.on_event());
        if let Some(threads) = arguments.threads {
            options.threads = threads.max(1);
        }
        arguments.remote.put_into(&mut options);
        let context = match &arguments.remote.scheduler {
            Some(url) => TuskContext::remote_with(url, options).await?,
            None => TuskContext::embedded_with(options).await?,
        };
        Ok(Self { context, progress })
    }

    /// Runs a statement and prints its rows. Ctrl-C ends it; a training run is asked to stop and waited for.
    pub(crate) async fn run(&self, statement: Statement, format: Format) -> Result<Outcome> {
        let start = Instant::now();
        let live = matches!(&statement, Statement::Model(ModelStatement::Create { explain: false, .. }));
        let printed = Box::pin(self.run_and_print(statement, format, live)).await;
        self.progress.clear();
        let (rows, has_columns) = printed?;
        if live && rows == 0 {
            self.progress.line("no epoch was trained: the model is there already");
        }
        Ok(Outcome { rows, has_columns, seconds: start.elapsed().as_secs_f64() })
    }

    async fn run_and_print(&self, statement: Statement, format: Format, live: bool) -> Result<(usize, bool)> {
        let mut results = tokio::select! {
            results = self.context.execute(statement) => results?,
            _ = tokio::signal::ctrl_c() => {
                self.progress.interrupted();
                return Err(Interrupted.into());
            }
        };
        let schema = results.schema();
        let has_columns = !schema.fields().is_empty();
        let mut printer = Printer::new(format, schema, live);
        let end = self.print(&mut results, &mut printer).await;
        match end {
            // A table that was begun is ended before its error is shown.
            Err(error) if live => printer.finish().and(Err(error)),
            Err(error) => Err(error),
            Ok(()) => Ok((printer.finish()?, has_columns)),
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
                            self.progress.line("stopping the training run; Ctrl-C again does not wait for it");
                            cancel.cancel();
                        }
                        _ => return Err(Interrupted.into()),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_script_line_and_statement() {
        let text = "SELECT 1;\n\nCREATE MODEL m\n  TRAIN FROM t;".to_owned();
        let error = Script { name: "train.sql".to_owned(), text }.parse().unwrap_err();
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(
            chain,
            [
                "train.sql, line 3, statement 2 of 2 failed: CREATE MODEL m TRAIN FROM t",
                "syntax error: expected ON, found FROM at line 4, column 9"
            ]
        );
    }
}
