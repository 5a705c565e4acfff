//! `tusk ingest`.
use anyhow::Result;
/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct IngestArguments {}
/// Runs it.
pub(crate) fn run(_arguments: IngestArguments) -> Result<()> { Ok(()) }
