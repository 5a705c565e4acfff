//! `tusk demo`.
use anyhow::Result;
/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {}
/// Runs it.
pub(crate) async fn run(_arguments: DemoArguments) -> Result<()> { Ok(()) }
