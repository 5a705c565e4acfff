//! Whole runs on two executors in this process: planning, scheduling, tasks, shuffle files, Arrow Flight over the
//! loopback interface, aggregation and checkpoints. Only training is simulated.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use datafusion::physical_plan::empty::EmptyExec;
use tusk_benches::cluster::{Cluster, source_schema};
use tusk_benches::probe::{cpu_seconds, forget_peak, peak_bytes, resident_bytes};
use tusk_benches::simulated::{SimulatedEngine, Updates, resnet50};
use tusk_core::engine::TrainEngine;
use tusk_core::event::RunEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{EpochReport, Timing};
use tusk_core::options::{Architecture, ModelSpec};
use tusk_core::protocol::TrainingRequest;

use crate::{line, megabytes};

const EPOCHS: u32 = 3;

pub(crate) fn measure(out: &mut impl Write, workers: u32) -> Result<()> {
    let updates = Arc::new(Updates::new(resnet50(), 42));
    let bytes = 4 * updates.values() as u64 * u64::from(workers);
    let generating = time_to_generate(&updates)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let before = resident_bytes();
    forget_peak();
    let started = Instant::now();
    let cpu_before = cpu_seconds();
    let epochs = runtime.block_on(run(Arc::clone(&updates), workers))?;
    let (cpu, wall) = (cpu_seconds() - cpu_before, started.elapsed().as_secs_f64());
    let peak = peak_bytes().saturating_sub(before);
    writeln!(out, "jobs of {workers} workers on two executors, {EPOCHS} epochs")?;
    line(out, "bytes of task output per epoch", &format!("{:.2} GB", bytes as f64 / 1e9))?;
    for epoch in &epochs {
        let Timing { aggregate, checkpoint, .. } = epoch.timing;
        line(out, &format!("epoch {}", epoch.epoch), &format!("{:.2} s", epoch.seconds))?;
        line(out, "  aggregation", &format!("{aggregate:.2} s"))?;
        line(out, "  writing the checkpoint", &format!("{checkpoint:.2} s"))?;
        let rest = epoch.seconds - aggregate - checkpoint;
        line(out, "  the rest: files, Flight, scheduling, generating updates", &format!("{rest:.2} s"))?;
        line(out, "  per worker", &format!("{:.0} ms", epoch.seconds * 1e3 / f64::from(workers)))?;
    }
    line(
        out,
        "generating one worker's update alone, on one core",
        &format!("{:.0} ms", generating.as_secs_f64() * 1e3),
    )?;
    line(out, "processor time and wall time of the run", &format!("{cpu:.1} s, {wall:.1} s"))?;
    line(out, "peak memory minus memory at the start, with executors", &megabytes(peak))?;
    Ok(())
}

/// The time that the simulation needs to generate one update.
fn time_to_generate(updates: &Updates) -> Result<Duration> {
    let started = Instant::now();
    for tensor in 0..updates.tensors().len() {
        updates.rows_of(0, tensor)?;
    }
    Ok(started.elapsed())
}

async fn run(updates: Arc<Updates>, workers: u32) -> Result<Vec<EpochReport>> {
    let folder = tempfile::tempdir()?;
    let engine = || -> Arc<dyn TrainEngine> { Arc::new(SimulatedEngine(Arc::clone(&updates))) };
    let cluster = Cluster::start(vec![engine(), engine()], 1, &folder.path().display().to_string()).await?;
    let request = TrainingRequest {
        name: ModelName::new("simulated")?,
        spec: ModelSpec::new(Architecture::RESNET18).with(|spec| {
            spec.distribution.workers = Some(workers);
            spec.training.epochs = EPOCHS;
        }),
        train: Arc::new(EmptyExec::new(source_schema())),
        validate: None,
        train_name: "nothing".into(),
        or_replace: false,
        resume: false,
        shortcuts: None,
        nuisances: None,
    };
    let mut run = cluster.training().start(request).await?;
    let mut epochs = Vec::new();
    loop {
        match run.events.recv().await {
            Ok(RunEvent::Epoch(report)) => epochs.push(report),
            Ok(RunEvent::Finished(_)) | Err(_) => break,
            Ok(_) => {}
        }
    }
    run.finish().await?;
    Ok(epochs)
}
