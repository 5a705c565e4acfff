//! `tusk ingest`: converts folders of images to one Parquet file.

use std::io::{IsTerminal, stderr};
use std::path::Path;

use anyhow::Result;
use regex::Regex;
use tusk::ingest::{IngestOptions, IngestSummary, ingest};

use super::PathArgument;
use super::format::print_line;
use super::progress::Counter;

/// Arguments of `tusk ingest`.
#[derive(Debug, clap::Args)]
pub(crate) struct IngestArguments {
    /// Folders to search for images, at any depth. The name of an image's parent folder is its label.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathArgument>,
    /// Parquet file to write. An existing file is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathArgument,
    /// Regular expression for the patient in a file name, such as 'person\d+': its first group, or the whole match.
    #[arg(long, value_name = "RE")]
    group_regex: Option<Regex>,
    /// Random seed of the row order.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Approximate size of a row group in MiB.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    row_group_mb: u16,
    /// Do not measure shortcuts. Measuring them takes up to half a minute.
    #[arg(long)]
    no_shortcuts: bool,
}

/// Runs `tusk ingest`.
pub(crate) async fn run(arguments: IngestArguments) -> Result<()> {
    let mut options = IngestOptions::new(arguments.dirs, arguments.out);
    options.group_regex = arguments.group_regex;
    options.seed = arguments.seed;
    options.row_group_bytes = usize::from(arguments.row_group_mb) * 1024 * 1024;
    let out = options.out.clone();
    let summary = tokio::task::spawn_blocking(move || ingest_with_bar(&options)).await??;
    print_line(summary.to_string().trim_end())?;
    // Shortcuts tell classes apart.
    if !arguments.no_shortcuts && summary.classes.len() > 1 {
        Box::pin(print_shortcuts(&out)).await?;
    }
    if stderr().is_terminal() {
        let file = out.display().to_string().replace('\'', "''");
        eprintln!("next, in tusk sql: CREATE EXTERNAL TABLE xrays STORED AS PARQUET LOCATION '{file}';");
    }
    Ok(())
}

/// Measures and prints the shortcuts of the file. The file is complete, so an error is only printed.
#[cfg(feature = "embedded")]
async fn print_shortcuts(file: &Path) -> Result<()> {
    if stderr().is_terminal() {
        eprintln!("measuring shortcuts; --no-shortcuts leaves this out");
    }
    match tusk::ingest::shortcuts(file).await {
        Ok(found) => print_line(found.to_string().trim_end()),
        Err(error) => print_line(&format!("shortcuts: not measured: {error}")),
    }
}

#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "the variant with the feature is async")]
async fn print_shortcuts(_file: &Path) -> Result<()> {
    Ok(())
}

/// Ingests with a progress bar on stderr.
pub(crate) fn ingest_with_bar(options: &IngestOptions) -> Result<IngestSummary> {
    let mut counter = Counter::new("ingesting");
    Ok(ingest(options, &mut |progress| counter.update(progress.files, progress.total))?)
}
