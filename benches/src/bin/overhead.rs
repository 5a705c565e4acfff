//! Measures the overhead of an epoch beside decoding and training: a run over a few small images, on clusters of one
//! and of two executors, with all parts of an epoch's wall time. `cargo run --bin overhead`.

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use datafusion::datasource::memory::MemorySourceConfig;
use tusk_benches::cluster::{Cluster, source_schema};
use tusk_benches::model::table;
use tusk_benches::spans::{Span, SpannedEngine, Spans};
use tusk_core::engine::TrainEngine;
use tusk_core::event::{NoProgress, RunEvent};
use tusk_core::ids::ModelName;
use tusk_core::job::Job;
use tusk_core::manifest::EpochReport;
use tusk_core::options::{Augment, ModelSpec, Precision, architecture};
use tusk_core::protocol::TrainingRequest;
use tusk_executor::{CacheLimits, DevicePool, TorchEngine};
use tusk_udfs::session::physical_codec;

/// Epochs that are not counted, because connections are opened and memory is touched for the first time.
const WARM_UP: usize = 2;

/// The goal for the overhead of an epoch's job, in milliseconds.
const GOAL_MS: f64 = 300.0;

#[derive(Parser)]
#[command(about = "Measures the overhead of an epoch beside decoding and training")]
struct Args {
    /// Number of measured epochs.
    #[arg(long, default_value_t = 20)]
    epochs: u32,
    /// Number of images.
    #[arg(long, default_value_t = 64)]
    images: usize,
    /// Net, as in `USING`.
    #[arg(long, default_value = "cnn")]
    net: String,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 64)]
    side: u32,
    /// Number format, as in `precision`.
    #[arg(long, default_value = "auto")]
    precision: String,
    /// Hold out a part of the images, so that each epoch has two jobs.
    #[arg(long)]
    validate: bool,
}

/// The parts of one epoch's wall time, in order.
const PARTS: [&str; 8] = [
    "submit, plan, schedule",
    "pull",
    "train",
    "push",
    "status, fetch, records",
    "aggregate",
    "checkpoint",
    "validate",
];

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let mut out = stdout().lock();
    writeln!(out, "milliseconds of an epoch, median of {} | 1 executor | 2 executors", args.epochs)?;
    let one = runtime.block_on(parts(&args, 1))?;
    let two = runtime.block_on(parts(&args, 2))?;
    for (place, part) in PARTS.iter().chain(&["overhead", "whole epoch"]).enumerate() {
        writeln!(out, "{part:<40} | {:>10.1} | {:>11.1}", one[place], two[place])?;
    }
    let rate = |whole: f64| args.images as f64 / whole * 1e3;
    writeln!(out, "{:<40} | {:>10.1} | {:>11.1}", "images/s", rate(one[9]), rate(two[9]))?;
    writeln!(
        out,
        "overhead is the whole epoch without training and the forward passes of validation; the goal is {GOAL_MS} ms"
    )?;
    Ok(())
}

/// Medians over the epochs: [`PARTS`], then the overhead and the whole epoch.
async fn parts(args: &Args, executors: usize) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let spans = Spans::default();
    let engine = || -> Result<Arc<dyn TrainEngine>> {
        let devices = DevicePool::new("cpu", 1)?;
        let engine = TorchEngine::new(CacheLimits::default(), physical_codec(), devices, Arc::new(NoProgress))?;
        Ok(Arc::new(SpannedEngine { engine, spans: spans.clone() }))
    };
    let engines = std::iter::repeat_with(engine).take(executors).collect::<Result<_>>()?;
    let cluster = Cluster::start(engines, 1, &folder.path().display().to_string()).await?;
    let mut run = cluster.training().start(request(args)?).await?;
    let mut epochs: Vec<(Instant, Instant, EpochReport)> = Vec::new();
    let mut started = Instant::now();
    loop {
        match run.events.recv().await {
            Ok(RunEvent::Epoch(report)) => {
                let ended = Instant::now();
                epochs.push((started, ended, report));
                started = ended;
            }
            Ok(RunEvent::Finished(_)) | Err(_) => break,
            Ok(RunEvent::Profiled { .. }) => started = Instant::now(),
            Ok(_) => {}
        }
    }
    run.finish().await?;
    let spans = spans.all();
    let split = epochs.iter().skip(WARM_UP).map(|epoch| split(epoch, &spans)).collect::<Result<Vec<_>>>()?;
    Ok((0..PARTS.len() + 2).map(|part| median(split.iter().map(|epoch| epoch[part]).collect())).collect())
}

fn request(args: &Args) -> Result<TrainingRequest> {
    let rows = table(args.images, args.side)?;
    let mut spec = ModelSpec::new(architecture(&args.net)?);
    spec.training.epochs = args.epochs + WARM_UP as u32;
    spec.training.early_stop = false;
    spec.input.image_size = args.side;
    spec.net.precision = Precision::from_name(&args.precision).context("precision must be auto, f32 or bf16")?;
    spec.input.augment = Augment::default();
    spec.split.validation_fraction = if args.validate { 0.25 } else { 0.0 };
    Ok(TrainingRequest {
        name: ModelName::new("overhead")?,
        spec,
        train: MemorySourceConfig::try_new_exec(&[vec![rows]], source_schema(), None)?,
        validate: None,
        train_name: "the synthetic X-rays".into(),
        or_replace: false,
        resume: false,
        shortcuts: None,
        nuisances: None,
    })
}

fn split((started, ended, report): &(Instant, Instant, EpochReport), spans: &[Span]) -> Result<Vec<f64>> {
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let of_epoch = || spans.iter().filter(|span| span.job.epoch() == Some(report.epoch));
    let training = || of_epoch().filter(|span| matches!(span.job, Job::Train(_)));
    let validation = || of_epoch().filter(|span| matches!(span.job, Job::Validate(_)));
    let called = training().map(|span| span.called).min().context("no task trained in this epoch")?;
    let slowest = training().max_by_key(|span| span.answered).context("no task answered in this epoch")?;
    let pushed = training().map(|span| span.ended).max().unwrap_or(*ended);
    let train = slowest.timing.train * 1e3;
    let forward = validation().map(|span| span.timing.validate * 1e3).fold(0.0, f64::max);
    // Tasks of `Publish` validate the best epoch once more, so the first calls belong to this epoch.
    let validate_called = validation().map(|span| span.called).min();
    let validating = validate_called.map_or(0.0, |called| ms(called, *ended));
    let (aggregate, checkpoint) = (report.timing.aggregate * 1e3, report.timing.checkpoint * 1e3);
    let whole = ms(*started, *ended);
    Ok(vec![
        ms(*started, called),
        ms(called, slowest.answered) - train,
        train,
        ms(slowest.answered, pushed),
        ms(pushed, *ended) - aggregate - checkpoint - validating,
        aggregate,
        checkpoint,
        validating,
        whole - train - forward,
        whole,
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
