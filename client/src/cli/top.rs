//! `tusk top`: shows executors, devices, runs and images per second of a cluster, refreshed every second.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use console::Term;
use tusk::{ContextOptions, TuskContext};
use tusk_core::event::Progress;
use tusk_core::protocol::{ClusterStatus, ExecutorReport, RunSummary};

use super::RemoteArguments;
use super::format::print_line;

/// The shortest time between refreshes, in seconds.
const EVERY_MIN: f64 = 0.1;

/// The longest time between refreshes, in seconds: a day.
const EVERY_MAX: f64 = 86_400.0;

/// Arguments of `tusk top`.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArguments {
    /// Seconds between refreshes.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    every: f64,
    /// Number of refreshes. Default: until Ctrl-C.
    #[arg(long, value_name = "N")]
    times: Option<u64>,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Runs `tusk top`.
pub(crate) async fn run(arguments: TopArguments) -> Result<()> {
    let Some(url) = arguments.remote.scheduler.clone() else {
        anyhow::bail!("no scheduler given; for example: tusk top --scheduler df://host:50050");
    };
    ensure!(
        (EVERY_MIN..=EVERY_MAX).contains(&arguments.every),
        "--every is {}; it takes a number of seconds from {EVERY_MIN} to {EVERY_MAX}",
        arguments.every
    );
    let mut options = ContextOptions::default();
    arguments.remote.put_into(&mut options);
    let context = TuskContext::remote_with(&url, options).await?;
    let (screen, mut lines, mut rates) = (Term::stdout(), 0, Rates::default());
    let is_live = std::io::stdout().is_terminal();
    for look in 0.. {
        if arguments.times.is_some_and(|times| look >= times) {
            break;
        }
        let status = context.cluster_status().await?;
        let text = page(&url, &status, &mut rates);
        if is_live {
            screen.clear_last_lines(lines)?;
        }
        text.lines().try_for_each(print_line)?;
        lines = text.lines().count();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(arguments.every)) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(())
}

/// Images per second, from the totals of two reports.
#[derive(Default)]
struct Rates {
    last: HashMap<String, (Instant, u64)>,
}

impl Rates {
    /// Images that an executor decoded, trained or scored per second since the last report.
    fn of(&mut self, executor: &ExecutorReport, now: Instant) -> Option<f64> {
        let totals = &executor.totals;
        let images = totals.images_decoded + totals.images_trained + totals.images_scored;
        let (then, before) = self.last.insert(executor.executor_id.clone(), (now, images))?;
        let seconds = now.duration_since(then).as_secs_f64();
        // A restarted executor counts from 0.
        (seconds > 0.0 && images >= before).then(|| (images - before) as f64 / seconds)
    }
}

fn page(url: &str, status: &ClusterStatus, rates: &mut Rates) -> String {
    let devices: usize = status.executors.iter().map(|e| e.devices.len()).sum();
    let busy: usize = status.executors.iter().flat_map(|e| &e.devices).filter(|d| d.busy.is_some()).count();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{url}: {} executors, {busy} of {devices} devices busy, {} runs, {} jobs running, {} queued",
        status.executors.len(),
        status.runs.len(),
        status.jobs_running,
        status.jobs_queued
    );
    let _ = writeln!(
        text,
        "\n{:<24} {:>7} {:>9} {:>7} {:>10} {:>10}  work",
        "executor", "devices", "images/s", "shards", "memory", "disk"
    );
    let now = Instant::now();
    for executor in &status.executors {
        let rate = rates.of(executor, now).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
        let name = if executor.host.is_empty() { &executor.executor_id } else { &executor.host };
        let _ = writeln!(
            text,
            "{:<24} {:>7} {rate:>9} {:>7} {:>10} {:>10}  {}",
            shortened(name, 24),
            executor.devices.len(),
            executor.shards.len(),
            mebibytes(executor.totals.shard_memory_bytes),
            mebibytes(executor.totals.shard_disk_bytes),
            work(executor)
        );
    }
    let _ = writeln!(text, "\n{:<24} {:>9} {:>9} {:>12}", "run", "epoch", "images/s", "val_roc_auc");
    for run in &status.runs {
        let rate: f64 = progress_of(status, run).map(|progress| progress.images_per_second).sum();
        let auc = run.val_roc_auc.map_or_else(|| "-".to_owned(), |auc| format!("{auc:.4}"));
        let epoch = format!("{} of {}", run.epoch, run.epochs);
        let _ = writeln!(text, "{:<24} {epoch:>9} {rate:>9.0} {auc:>12}", shortened(run.model.as_str(), 24));
    }
    if status.runs.is_empty() {
        let _ = writeln!(text, "none");
    }
    text
}

fn progress_of<'a>(status: &'a ClusterStatus, run: &'a RunSummary) -> impl Iterator<Item = &'a Progress> {
    status.executors.iter().flat_map(|executor| &executor.progress).filter(|progress| progress.run == run.run)
}

fn work(executor: &ExecutorReport) -> String {
    let tasks = executor.devices.iter().filter_map(|device| {
        let work = device.busy.as_ref()?;
        Some(format!("{}: worker {}, epoch {}", device.name, work.worker, work.epoch))
    });
    let tasks: Vec<String> = tasks.collect();
    if tasks.is_empty() { "idle".to_owned() } else { tasks.join("; ") }
}

fn shortened(name: &str, characters: usize) -> String {
    if name.chars().count() <= characters {
        return name.to_owned();
    }
    let start: String = name.chars().take(characters - 1).collect();
    format!("{start}…")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use tusk_core::protocol::{DeviceReport, ExecutorTotals};

    use super::*;

    #[test]
    fn a_page_shows_executors_devices_and_rates() {
        let executor = |images_trained| ExecutorReport {
            executor_id: "e1".into(),
            host: "xray-node-1".into(),
            devices: vec![DeviceReport { name: "cpu".into(), busy: None }],
            totals: ExecutorTotals { images_trained, ..ExecutorTotals::default() },
            ..ExecutorReport::default()
        };
        let status = ClusterStatus { executors: vec![executor(10)], ..ClusterStatus::default() };
        let text = page("df://h:1", &status, &mut Rates::default());
        assert!(text.starts_with("df://h:1: 1 executors, 0 of 1 devices busy, 0 runs"), "{text}");
        assert!(text.contains("xray-node-1") && text.contains("idle") && text.contains("\nnone"), "{text}");

        let (mut rates, start) = (Rates::default(), Instant::now());
        assert_eq!(rates.of(&executor(10), start), None);
        assert_eq!(rates.of(&executor(30), start + Duration::from_secs(2)), Some(10.0));
        assert_eq!(rates.of(&executor(0), start + Duration::from_secs(3)), None, "the executor was restarted");
    }
}
