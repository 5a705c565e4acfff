//! A connection of the command line: it runs statements, prints their rows, and ends them on Ctrl-C.

use std::time::Instant;

use anyhow::Result;
use tusk::{ContextOptions, Results, TuskContext};
use tusk_core::protocol::epoch_schema;

use super::ClusterArguments;
use super::format::{Format, Printer};
use super::progress::Progress;

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
