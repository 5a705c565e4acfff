//! `tusk ingest`: images in folders to one Parquet file.

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
    /// Folders that hold the images, at any depth; the folder that an image lies in is its label.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathArgument>,
    /// The Parquet file to write; one that exists is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathArgument,
    /// What names the patient in a file's name, such as 'person\d+': the first group, or the whole match.
    #[arg(long, value_name = "RE")]
    group_regex: Option<Regex>,
    /// What the order of the rows depends on.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// MiB of images in a row group, about.
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

/// Ingests, with progress on stderr.
pub(crate) fn ingest_with_bar(options: &IngestOptions) -> Result<IngestSummary> {
    let mut counter = Counter::new("ingesting");
    Ok(ingest(options, &mut |progress| counter.update(progress.files, progress.total))?)
}
