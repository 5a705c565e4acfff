//! Trains an epoch or an epoch slice and returns the new weights.

use std::borrow::Borrow;
use std::time::Instant;

use tusk_core::job::{TaskReport, Train, TrainReport};
use tusk_core::manifest::Timing;
use tusk_core::state::{ModelState, NamedTensor};

use super::Work;
use crate::error::Result;
use crate::shard::Shard;
use crate::train::trainer::{Learner, Meter, TaskEnvironment};

pub(super) async fn run(work: Work, job: Train) -> Result<()> {
    let state = work.state(job.weights.as_ref()).await?;
    work.compute(move |work| {
        let lease = work.acquire(work.device_work(job.epoch))?;
        let (report, tensors) = train_epoch(&work.environment(&lease), &job, &work.shard, state)?;
        drop(lease);
        work.metrics().observe("train", report.task.timing.train);
        let started = Instant::now();
        work.report(&job, report)?;
        // Consumes the tensors, so that each one's memory is freed as soon as it has been sent.
        tensors.into_iter().try_for_each(|tensor| work.send_tensor(&tensor))?;
        work.metrics().observe("push", started.elapsed().as_secs_f64());
        Ok(())
    })
    .await
}

/// Trains the job's epoch slice. Returns the report and the new state, which is empty if the worker has no rows in the
/// slice. `state` is dropped as soon as its values have been copied into the net, to save memory.
pub(crate) fn train_epoch(
    env: &TaskEnvironment<'_>,
    job: &Train,
    shard: &Shard,
    state: impl Borrow<ModelState>,
) -> Result<(TrainReport, Vec<NamedTensor>)> {
    let started = Instant::now();
    let Some(mut learner) = Learner::new(env, &job.selection, shard, state.borrow())? else {
        return Ok((TrainReport::default(), Vec::new()));
    };
    drop(state);
    let order = learner.order(job.epoch);
    let steps = job.slice.steps(learner.steps());
    if steps.is_empty() {
        return Ok((TrainReport::default(), Vec::new()));
    }
    let [before, end] = [steps.start, steps.end].map(|step| step * order.len() / learner.steps());
    let mut meter = Meter::new(order.len(), before..end);
    for step in steps {
        let step = learner.step(job.epoch, &order, step)?;
        meter.count(&mut learner, job.epoch, &step)?;
    }
    let loss_sum = learner.read(&meter.loss)?;
    let libtorch = learner.take_libtorch_seconds();
    let tensors = learner.into_state()?;
    let timing = Timing { train: started.elapsed().as_secs_f64(), libtorch, ..Timing::default() };
    let task = TaskReport { timing, ..TaskReport::of_rows(meter.rows as u64) };
    Ok((TrainReport { task, loss_sum, learning_rate: meter.learning_rate }, tensors))
}
