//! Measures the statistics of the images of a site at the normalisation layers of a net (AdaBN: Li et al. 2016, arXiv
//! 1603.04779). Labels are not used, and no weight changes.
//!
//! Each batch passes the net as in training, without augmentation and dropout. All layers are measured in one pass, so
//! a layer sees inputs that were normalised with the statistics of their own batch, and not with those of all images.
//! PyTorch's `update_bn` does the same.

use std::time::Instant;

use tch::no_grad;
use tusk_core::job::{Adapt, AdaptReport, LayerStatistics, Rows, Statistics, TaskReport};
use tusk_core::manifest::Timing;
use tusk_core::options::Augment;
use tusk_core::state::ModelState;

use super::Work;
use crate::error::{Error, Result};
use crate::input::augment::InputPipeline;
use crate::input::batch_loader::BatchLoader;
use crate::nets::Pass;
use crate::nets::layout::RunningStatistics;
use crate::nets::loaded::LoadedNet;
use crate::shard::{Row, Shard};
use crate::train::trainer::{LibtorchClock, REPORT_EVERY, TaskEnvironment};

pub(super) async fn run(work: Work, job: Adapt) -> Result<()> {
    let state = work.state(Some(&job.weights)).await?;
    work.compute(move |work| {
        let started = Instant::now();
        let lease = work.acquire(work.device_work(job.net))?;
        let (report, statistics) = measure(&work.environment(&lease), &job, &work.shard, &state)?;
        drop(lease);
        work.metrics().observe("adapt", started.elapsed().as_secs_f64());
        work.report(&job, report)?;
        work.send(statistics.rows(work.worker.id))
    })
    .await
}

/// Measures all rows of the shard. Returns no statistics if there are no rows.
///
/// # Errors
/// [`tusk_core::Error::Data`] if there is only one row, which has no variance.
pub(crate) fn measure(
    env: &TaskEnvironment<'_>,
    job: &Adapt,
    shard: &Shard,
    state: &ModelState,
) -> Result<(AdaptReport, Statistics)> {
    let definition = &env.task.definition;
    let rows = shard.select(Rows::All, &definition.spec, &[]);
    let mut statistics = Statistics::default();
    if rows.len() < 2 {
        return match rows.is_empty() {
            true => Ok((AdaptReport::default(), statistics)),
            false => Err(Error::Core(tusk_core::Error::Data {
                message: format!("worker {} has one image, and needs at least two; use fewer workers", env.worker),
            })),
        };
    }
    let LoadedNet { net, params, device, kind, .. } =
        LoadedNet::on(env.device, definition, state, "the model to adapt")?;
    let (preprocessing, seed) = (&definition.preprocessing, definition.spec.training.seed);
    let pipeline = InputPipeline::new(preprocessing, Augment::default(), seed, device, kind)?;
    let mut loader = BatchLoader::once(preprocessing, device);
    let (started, mut reported, mut done) = (Instant::now(), Instant::now(), 0);
    let mut clock = LibtorchClock::default();
    for batch in batches(&rows, job.batch_size as usize) {
        env.check()?;
        let images = loader.batch(shard, batch)?;
        let found = clock.time(|| {
            no_grad(|| {
                drop(net.forward(&params, &pipeline.input(&images, &[], 0)?, Pass::Measure)?);
                params.running_statistics()
            })
        })?;
        for RunningStatistics { layer, mean, variance } in found {
            let [mean, variance] = [mean, variance].map(|values| values.into_iter().map(f64::from).collect());
            statistics.add(layer, LayerStatistics { rows: batch.len() as u64, mean, variance })?;
        }
        done += batch.len();
        // The last batch is always reported, because the metrics count images from the reports.
        if reported.elapsed() >= REPORT_EVERY || done == rows.len() {
            let rate = done as f64 / started.elapsed().as_secs_f64().max(1e-9);
            env.report(job.net, (0, done, rows.len()), rate, None);
            reported = Instant::now();
        }
    }
    let timing = Timing { libtorch: clock.seconds(), ..Timing::default() };
    let task = TaskReport { timing, ..TaskReport::of_rows(rows.len() as u64) };
    Ok((AdaptReport { task }, statistics))
}

/// Returns batches of `size` rows. The last has the remaining rows, and a single remaining row is in the batch before
/// it.
fn batches(rows: &[Row], size: usize) -> Vec<&[Row]> {
    let mut batches = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let end = (start + size.max(2)).min(rows.len());
        let end = if rows.len() - end == 1 { rows.len() } else { end };
        batches.push(&rows[start..end]);
        start = end;
    }
    batches
}

#[cfg(test)]
#[path = "adapt_tests.rs"]
mod tests;
