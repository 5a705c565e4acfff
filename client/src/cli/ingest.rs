//! `tusk ingest`: converts folders of images to one Parquet file.

use std::io::{IsTerminal, stderr};

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
}

/// Runs `tusk ingest`. It blocks.
pub(crate) fn run(arguments: IngestArguments) -> Result<()> {
    let mut options = IngestOptions::new(arguments.dirs, arguments.out);
    options.group_regex = arguments.group_regex;
    options.seed = arguments.seed;
    options.row_group_bytes = usize::from(arguments.row_group_mb) * 1024 * 1024;
    let summary = ingest_with_bar(&options)?;
    print_line(summary.to_string().trim_end())?;
    if stderr().is_terminal() {
        let file = options.out.display().to_string().replace('\'', "''");
        eprintln!("next, in tusk sql: CREATE EXTERNAL TABLE xrays STORED AS PARQUET LOCATION '{file}';");
    }
    Ok(())
}

/// Ingests with a progress bar on stderr.
pub(crate) fn ingest_with_bar(options: &IngestOptions) -> Result<IngestSummary> {
    let mut counter = Counter::new("ingesting");
    Ok(ingest(options, &mut |progress| counter.update(progress.files, progress.total))?)
}
