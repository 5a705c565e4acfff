//! A thousand executors, simulated: the real aggregator, the real job path and the real scheduler with answers that
//! nobody trained for. `cargo run --bin simulate`; docs/scale.md shows what it printed.

mod aggregate;
mod jobs;
mod scheduling;

use std::io::{Write, stdout};

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The aggregator alone: every worker's update folded.
    Aggregate,
    /// Whole jobs, from the plan to the checkpoint, with answers through shuffle files and Arrow Flight.
    Jobs,
    /// The scheduler alone: planning, binding, launching and ending the tasks of an epoch.
    Scheduling,
}

#[derive(Parser)]
#[command(about = "Measures aggregation and scheduling with simulated executors")]
struct Args {
    /// What is measured; everything if it is not given.
    #[arg(long)]
    part: Vec<Part>,
    /// Workers whose updates are folded.
    #[arg(long, default_value_t = 1000)]
    workers: u32,
    /// Workers of the whole jobs: their answers lie on disk for a while, 102 MB each.
    #[arg(long, default_value_t = 16)]
    job_workers: u32,
    /// Executors and tasks of the scheduler's job.
    #[arg(long, default_value_t = 1000)]
    executors: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = stdout().lock();
    let wanted = |part| args.part.is_empty() || args.part.contains(&part);
    if wanted(Part::Aggregate) {
        aggregate::measure(&mut out, args.workers)?;
    }
    if wanted(Part::Jobs) {
        jobs::measure(&mut out, args.job_workers)?;
    }
    if wanted(Part::Scheduling) {
        scheduling::measure(&mut out, args.executors)?;
    }
    Ok(())
}

/// One line of a table.
fn line(out: &mut impl Write, what: &str, figure: &str) -> Result<()> {
    Ok(writeln!(out, "  {what:<58} {figure:>18}")?)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
