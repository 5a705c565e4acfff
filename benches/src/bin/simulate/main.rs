//! Simulates a thousand executors: the real aggregator, job execution and scheduler, with task output from a
//! simulation. `cargo run --bin simulate`. Results are in docs/scale.md.

mod aggregate;
mod jobs;
mod scheduling;

use std::io::{Write, stdout};

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The aggregator alone: folds every worker's update.
    Aggregate,
    /// Whole runs, from the plan to the checkpoint, with task output through shuffle files and Arrow Flight.
    Jobs,
    /// The scheduler alone: planning, binding, launching and ending the tasks of an epoch.
    Scheduling,
}

#[derive(Parser)]
#[command(about = "Measures aggregation and scheduling with simulated executors")]
struct Args {
    /// Part to measure. Default: all.
    #[arg(long)]
    part: Vec<Part>,
    /// Number of workers whose updates are folded.
    #[arg(long, default_value_t = 1000)]
    workers: u32,
    /// Number of workers of the whole runs. Their task output needs 102 MB of disk each.
    #[arg(long, default_value_t = 16)]
    job_workers: u32,
    /// Number of executors, and of tasks, of the scheduler's job.
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

/// Writes one line of a table.
fn line(out: &mut impl Write, what: &str, value: &str) -> Result<()> {
    Ok(writeln!(out, "  {what:<58} {value:>18}")?)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
