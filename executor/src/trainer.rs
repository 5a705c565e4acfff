//! One epoch over a shard, and one pass of scoring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use tch::{Tensor, no_grad};
use tusk_core::event::{Progress, ProgressSink};
use tusk_core::ids::WorkerId;
use tusk_core::manifest::Timing;
use tusk_core::physical::{PhaseReport, TrainTask};
use tusk_core::random::derive;
use tusk_core::spec::Augment;
use tusk_core::state::{ModelState, NamedTensor};

use crate::augment::InputPipeline;
use crate::error::{Error, Result};
use crate::optimizer::Optimizer;
use crate::schedule::learning_rate;
use crate::session::Session;
use crate::shard::{Row, Shard};

/// How often a running task reports.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Pictures per step of a pass that only looks.
pub(crate) const SCORING_BATCH: usize = 64;

/// What a task needs beside its shard.
pub(crate) struct TaskEnvironment<'a> {
    pub(crate) task: &'a TrainTask,
    pub(crate) worker: WorkerId,
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) progress: &'a dyn ProgressSink,
    pub(crate) device: tch::Device,
}

impl TaskEnvironment<'_> {
    fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn report(&self, images: usize, total: usize, started: Instant, loss: Option<f64>) {
        self.progress.report(Progress {
            run: self.task.run.clone(),
            worker: self.worker,
            epoch: self.task.epoch,
            images: images as u64,
            images_total: Some(total as u64),
            images_per_second: images as f64 / started.elapsed().as_secs_f64().max(1e-9),
            loss,
        });
    }
}

/// Counts the time inside libtorch apart from the time around it.
#[derive(Default)]
struct LibtorchClock(Duration);

impl LibtorchClock {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0 += started.elapsed();
        result
    }
}

/// The classes of rows as indices into the definition's classes.
///
/// A shard numbers the labels it has; the model numbers those that the whole table has.
fn class_map(shard: &Shard, task: &TrainTask) -> Result<Vec<Option<usize>>> {
    let classes = &task.definition.classes;
    Ok(shard.labels.iter().map(|label| classes.iter().position(|class| class == label)).collect())
}

/// Trains one epoch: the report, and the state after it. A worker without rows answers with no state.
pub(crate) fn train_epoch(
    env: &TaskEnvironment<'_>,
    shard: &Shard,
    state: &ModelState,
) -> Result<(PhaseReport, Vec<NamedTensor>)> {
    let task = env.task;
    let (definition, spec) = (&task.definition, &task.definition.spec);
    let started = Instant::now();
    let mut rows = shard.select(task.rows, spec.seed, spec.validation_fraction);
    if rows.is_empty() {
        return Ok((PhaseReport::default(), Vec::new()));
    }
    let shuffle = derive(spec.seed, "shuffle", &[u64::from(task.epoch), u64::from(env.worker.0)]);
    rows.shuffle(&mut Pcg64::seed_from_u64(shuffle));
    let classes = class_map(shard, task)?;
    let mut session = Session::on(env.device, definition, state, "the last checkpoint")?;
    let mut optimizer = Optimizer::new(spec, &session.params, state)?;
    let pipeline =
        InputPipeline::new(&definition.preprocessing, spec.augment.clone(), spec.seed, session.device, session.kind);
    let class_weights: Vec<f32> = definition.class_weights.iter().map(|w| *w as f32).collect();
    let class_weights = Tensor::f_from_slice(&class_weights)?.f_to(session.device)?;

    let (mut clock, mut pixels) = (LibtorchClock::default(), Vec::new());
    let (mut loss_sum, mut rate, mut done) = (0.0, 0.0, 0);
    let mut reported = Instant::now();
    let steps = rows.len().div_ceil(spec.batch_size.max(1) as usize);
    for step in 0..steps {
        env.check()?;
        // Batches of one size, give or take a row: a last batch of two would step as far on far less.
        let batch = &rows[step * rows.len() / steps..(step + 1) * rows.len() / steps];
        shard.gather(batch, &mut pixels)?;
        let images: Vec<u64> = batch.iter().map(|row| row.content).collect();
        let truth = truth_of(batch, &classes)?;
        let progress = (f64::from(task.epoch.saturating_sub(1)) + step as f64 / steps as f64) / f64::from(spec.epochs);
        rate = learning_rate(spec, progress);
        let loss = clock.time(|| -> Result<f64> {
            let x = pipeline.input(&pixels, &images, task.epoch)?;
            let truth = Tensor::f_from_slice(&truth)?.f_to(session.device)?;
            let outputs = session.net.forward(&session.params, &x, true)?;
            let weights = class_weights.f_index_select(0, &truth)?;
            let loss = session.row_losses(&outputs, &truth)?.f_mul(&weights)?.f_mean(tch::Kind::Float)?;
            loss.f_backward()?;
            optimizer.step(&mut session.params, rate)?;
            Ok(loss.f_double_value(&[])?)
        })?;
        loss_sum += loss * batch.len() as f64;
        done += batch.len();
        if reported.elapsed() >= REPORT_EVERY {
            env.report(done, rows.len(), started, Some(loss_sum / done as f64));
            reported = Instant::now();
        }
    }
    env.report(done, rows.len(), started, Some(loss_sum / done as f64));
    let mut tensors = session.params.state()?;
    tensors.extend(optimizer.state()?);
    let timing =
        Timing { train: started.elapsed().as_secs_f64(), libtorch: clock.0.as_secs_f64(), ..Timing::default() };
    let report =
        PhaseReport { rows: rows.len() as u64, loss_sum, learning_rate: rate, timing, ..PhaseReport::default() };
    Ok((report, tensors))
}

/// Scores of rows: class index, probabilities, and what a split keeps together.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    pub(crate) truth: Vec<u32>,
    pub(crate) probabilities: Vec<f32>,
    pub(crate) groups: Vec<u64>,
}

/// Scores the selected rows.
pub(crate) fn score(env: &TaskEnvironment<'_>, shard: &Shard, state: &ModelState) -> Result<(PhaseReport, Scores)> {
    let task = env.task;
    let (definition, spec) = (&task.definition, &task.definition.spec);
    let started = Instant::now();
    let rows = shard.select(task.rows, spec.seed, spec.validation_fraction);
    let mut scores = Scores::default();
    if rows.is_empty() {
        return Ok((PhaseReport::default(), scores));
    }
    let classes = class_map(shard, task)?;
    let session = Session::on(env.device, definition, state, "the checkpoint to validate")?;
    let pipeline =
        InputPipeline::new(&definition.preprocessing, Augment::default(), spec.seed, session.device, session.kind);
    let (mut clock, mut pixels) = (LibtorchClock::default(), Vec::new());
    for batch in rows.chunks(SCORING_BATCH) {
        env.check()?;
        shard.gather(batch, &mut pixels)?;
        let images: Vec<u64> = batch.iter().map(|row| row.content).collect();
        scores.truth.extend(truth_of(batch, &classes)?.iter().map(|class| *class as u32));
        scores.groups.extend(batch.iter().map(|row| row.key));
        let probabilities = clock.time(|| -> Result<Vec<f32>> {
            let x = pipeline.input(&pixels, &images, task.epoch)?;
            session.probabilities(&no_grad(|| session.net.forward(&session.params, &x, false))?)
        })?;
        scores.probabilities.extend(probabilities);
    }
    let timing =
        Timing { validate: started.elapsed().as_secs_f64(), libtorch: clock.0.as_secs_f64(), ..Timing::default() };
    Ok((PhaseReport { rows: rows.len() as u64, timing, ..PhaseReport::default() }, scores))
}

fn truth_of(batch: &[Row], classes: &[Option<usize>]) -> Result<Vec<i64>> {
    let class = |row: &Row| classes.get(row.label as usize).copied().flatten();
    batch
        .iter()
        .map(|row| match class(row) {
            Some(class) => Ok(class as i64),
            None => Err(Error::Core(tusk_core::Error::Data {
                message: "a row has a class that the training rows do not have; remove it, or train with it".into(),
            })),
        })
        .collect()
}
