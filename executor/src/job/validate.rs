//! Scores the validation rows with the weights of a checkpoint.

use std::time::Instant;

use tch::Kind;
use tusk_core::job::{Scores, TaskReport, Validate, ValidateReport};
use tusk_core::manifest::Timing;
use tusk_core::state::ModelState;

use super::Work;
use crate::error::Result;
use crate::input::augment::InputPipeline;
use crate::input::batch_loader::BatchLoader;
use crate::predict::scorer::{SCORING_BATCH, Scorer};
use crate::shard::Shard;
use crate::train::trainer::{LibtorchClock, TaskEnvironment, class_map, truth_of};

pub(super) async fn run(work: Work, job: Validate) -> Result<()> {
    let state = work.state(Some(&job.weights)).await?;
    work.compute(move |work| {
        let lease = work.acquire(work.device_work(job.epoch))?;
        let (report, scores) = score(&work.environment(&lease), &job, &work.shard, &state)?;
        drop(lease);
        work.metrics().observe("validate", report.task.timing.validate);
        work.metrics().images_scored.inc_by(report.task.rows);
        work.report(&job, report)?;
        work.send(scores.rows(work.worker.id))
    })
    .await
}

/// Scores the job's rows or copies of them. Uses the moving average of the weights if the state has one.
pub(crate) fn score(
    env: &TaskEnvironment<'_>,
    job: &Validate,
    shard: &Shard,
    state: &ModelState,
) -> Result<(ValidateReport, Scores)> {
    let definition = &env.task.definition;
    let started = Instant::now();
    let rows = shard.select(job.rows, &definition.spec, &[]);
    let mut scores = Scores::default();
    if rows.is_empty() {
        return Ok((ValidateReport::default(), scores));
    }
    let classes = class_map(shard, definition);
    let average = state.moving_average();
    let what = "the checkpoint to validate";
    let scorer = Scorer::new(env.device, definition, average.as_ref().unwrap_or(state), what)?;
    let mut loader = BatchLoader::once(&definition.preprocessing, scorer.device());
    let mut clock = LibtorchClock::default();
    // Not made for rows as they are, because it draws a bank of noise.
    let copier = match job.copies {
        0 => None,
        _ => {
            let (augment, seed) = (definition.spec.input.augment.clone(), definition.spec.training.seed);
            Some(InputPipeline::new(&definition.preprocessing, augment, seed, scorer.device(), Kind::Float)?)
        }
    };
    for batch in rows.chunks(SCORING_BATCH) {
        let images = loader.batch(shard, batch)?;
        let hashes: Vec<u64> = batch.iter().map(|row| row.content).collect();
        for copy in 0..job.copies.max(1) {
            env.check()?;
            let probabilities = clock.time(|| match &copier {
                None => scorer.probabilities(&images),
                // Other numbers than those of the epochs, so that these are not the copies of a training row.
                Some(copier) => scorer.probabilities(&copier.images(&images, &hashes, u32::MAX - copy)?),
            })?;
            scores.truth.extend(truth_of(batch, &classes)?.iter().map(|class| *class as u32));
            scores.groups.extend(batch.iter().map(|row| row.key));
            scores.probabilities.extend(probabilities);
        }
        if copier.is_none() {
            scores.contents.extend(hashes);
        }
    }
    let timing = Timing { validate: started.elapsed().as_secs_f64(), libtorch: clock.seconds(), ..Timing::default() };
    let task = TaskReport { timing, ..TaskReport::of_rows(rows.len() as u64) };
    Ok((ValidateReport { task }, scores))
}
