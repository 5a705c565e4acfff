//! Trains a net on the rows of a shard, batch by batch.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};
use tusk_core::event::{Progress, ProgressSink};
use tusk_core::ids::WorkerId;
use tusk_core::job::{Selection, TrainTask};
use tusk_core::manifest::ModelDefinition;
use tusk_core::random::derive;
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::{Error, Result};
use crate::input::augment::InputPipeline;
use crate::input::batch_loader::BatchLoader;
use crate::nets::Pass;
use crate::nets::loaded::LoadedNet;
use crate::shard::{Row, Shard};
use crate::train::ema::Ema;
use crate::train::mixup::Mixup;
use crate::train::optimizer::Optimizer;

/// How often a running task reports its progress.
pub(crate) const REPORT_EVERY: Duration = Duration::from_millis(250);

/// What a task needs in addition to its shard.
pub(crate) struct TaskEnvironment<'a> {
    pub(crate) task: &'a TrainTask,
    pub(crate) worker: WorkerId,
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) progress: &'a dyn ProgressSink,
    pub(crate) device: tch::Device,
}

impl TaskEnvironment<'_> {
    /// Returns [`Error::Cancelled`] if the task is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Reports that `images` of `total` images of the epoch are processed, `before` of them by earlier tasks.
    pub(crate) fn report(
        &self,
        epoch: u32,
        (before, images, total): (usize, usize, usize),
        images_per_second: f64,
        loss: Option<f64>,
    ) {
        self.progress.report(Progress {
            run: self.task.run.clone(),
            worker: self.worker,
            epoch,
            images: images as u64,
            images_before: before as u64,
            images_total: Some(total as u64),
            images_per_second,
            loss,
        });
    }
}

/// Measures the time spent in libtorch.
#[derive(Default)]
pub(crate) struct LibtorchClock(Duration);

impl LibtorchClock {
    /// Runs `work` and adds its time.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0 += started.elapsed();
        result
    }

    /// The measured time so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// Maps each label of a shard to its index in the definition's classes, or to `None` if the model has no such class.
///
/// The numbers differ because a shard knows only the labels of its own rows.
pub(crate) fn class_map(shard: &Shard, definition: &ModelDefinition) -> Vec<Option<usize>> {
    let classes = &definition.classes;
    shard.labels.iter().map(|label| classes.iter().position(|class| class == label)).collect()
}

/// The result of training on a batch.
pub(crate) struct Step {
    pub(crate) rows: usize,
    /// The mean loss over the rows, on the device.
    loss: Tensor,
    pub(crate) learning_rate: f64,
}

/// The sum of the losses of rows, in f64 on the device. It stays there because reading a value from a GPU waits until
/// the GPU has finished all earlier work.
#[derive(Default)]
pub(crate) struct LossSum(Option<Tensor>);

impl LossSum {
    /// Adds a step's rows.
    pub(crate) fn add(&mut self, step: &Step) -> Result<()> {
        let loss = step.loss.f_to_kind(Kind::Double)?.f_mul_scalar(step.rows as f64)?;
        self.0 = Some(match self.0.take() {
            Some(mut sum) => sum.f_add_(&loss)?,
            None => loss,
        });
        Ok(())
    }
}

/// Trains a net on the rows of a shard, batch by batch.
pub(crate) struct Learner<'a> {
    env: &'a TaskEnvironment<'a>,
    shard: &'a Shard,
    rows: Vec<Row>,
    classes: Vec<Option<usize>>,
    loaded: LoadedNet,
    optimizer: Optimizer,
    average: Option<Ema>,
    loader: BatchLoader,
    pipeline: InputPipeline,
    class_weights: Tensor,
    clock: LibtorchClock,
    /// The factor by which the learning rate of the schedule is multiplied.
    rate_factor: f64,
}

impl<'a> Learner<'a> {
    /// Loads the net of a task with the weights and moments in `state`. Returns `None` if the worker has no rows.
    pub(crate) fn new(
        env: &'a TaskEnvironment<'a>,
        selection: &Selection,
        shard: &'a Shard,
        state: &ModelState,
    ) -> Result<Option<Self>> {
        let (definition, spec) = (&env.task.definition, &env.task.definition.spec);
        let rows = shard.select(selection.rows, spec, &selection.dropped);
        if rows.is_empty() {
            return Ok(None);
        }
        let classes = class_map(shard, definition);
        let loaded = LoadedNet::on(env.device, definition, state, "the last checkpoint")?;
        let optimizer = Optimizer::new(spec, &loaded.params, state)?;
        let average = Ema::new(env.device, definition, state)?;
        let (augment, device) = (spec.input.augment.clone(), loaded.device);
        let loader = BatchLoader::again(&definition.preprocessing, device, shard)?;
        let pipeline = InputPipeline::new(&definition.preprocessing, augment, spec.training.seed, device, loaded.kind)?;
        let class_weights: Vec<f32> = definition.class_weights.iter().map(|w| *w as f32).collect();
        let class_weights = Tensor::f_from_slice(&class_weights)?.f_to(device)?;
        let clock = LibtorchClock::default();
        let rate_factor = spec.learning_rate_factor(env.task.workers);
        Ok(Some(Self {
            env,
            shard,
            rows,
            classes,
            loaded,
            optimizer,
            average,
            loader,
            pipeline,
            class_weights,
            clock,
            rate_factor,
        }))
    }

    /// The number of training rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The number of batches in an epoch.
    pub(crate) fn steps(&self) -> usize {
        self.rows.len().div_ceil(self.env.task.definition.spec.training.batch_size.max(1) as usize)
    }

    /// Returns the rows in the order of an epoch.
    pub(crate) fn order(&self, epoch: u32) -> Vec<Row> {
        let shuffle = derive(
            self.env.task.definition.spec.training.seed,
            "shuffle",
            &[u64::from(epoch), u64::from(self.env.worker.0)],
        );
        let mut rows = self.rows.clone();
        rows.shuffle(&mut Pcg64::seed_from_u64(shuffle));
        rows
    }

    /// Trains on batch number `step` of an epoch whose rows are in this order.
    pub(crate) fn step(&mut self, epoch: u32, order: &[Row], step: usize) -> Result<Step> {
        self.env.check()?;
        let (spec, steps) = (&self.env.task.definition.spec, self.steps());
        // The sizes of batches differ by one row at most. Otherwise a small last batch would count as much as a full
        // one.
        let batch = &order[step * order.len() / steps..(step + 1) * order.len() / steps];
        let hashes: Vec<u64> = batch.iter().map(|row| row.content).collect();
        let truth = truth_of(batch, &self.classes)?;
        let progress =
            (f64::from(epoch.saturating_sub(1)) + step as f64 / steps as f64) / f64::from(spec.training.epochs);
        let rate = spec.learning_rate(progress) * self.rate_factor;
        let numbers = [u64::from(epoch), u64::from(self.env.worker.0), step as u64];
        let pass = Pass::Train { seed: derive(spec.training.seed, "pass", &numbers) };
        let Self { loaded, optimizer, average, loader, pipeline, class_weights, clock, .. } = self;
        let images = loader.batch(self.shard, batch)?;
        let loss = clock.time(|| -> Result<Tensor> {
            let x = pipeline.input(&images, &hashes, epoch)?;
            let truth = Tensor::f_from_slice(&truth)?.f_to(loaded.device)?;
            let mixup = Mixup::draw(spec.input.mixup, spec.training.seed, &numbers);
            let x = mixup.map_or_else(|| Ok(x.shallow_clone()), |mixup| mixup.mix(&x, &x.f_flip([0])?))?;
            let outputs = loaded.net.forward(&loaded.params, &x, pass)?;
            let losses = |truth: &Tensor| -> Result<Tensor> {
                Ok(loaded.row_losses(&outputs, truth)?.f_mul(&class_weights.f_index_select(0, truth)?)?)
            };
            let mut loss = losses(&truth)?;
            if let Some(mixup) = mixup {
                loss = mixup.mix(&loss, &losses(&truth.f_flip([0])?)?)?;
            }
            let loss = loss.f_mean(Kind::Float)?;
            loss.f_backward()?;
            optimizer.step(&mut loaded.params, rate)?;
            if let Some(average) = average {
                average.follow(&loaded.params, optimizer.steps())?;
            }
            Ok(loss.f_detach()?)
        })?;
        Ok(Step { rows: batch.len(), loss, learning_rate: rate })
    }

    /// Waits for the device and returns the sum.
    pub(crate) fn read(&mut self, sum: &LossSum) -> Result<f64> {
        self.clock.time(|| sum.0.as_ref().map_or(Ok(0.0), |sum| Ok(sum.f_double_value(&[])?)))
    }

    /// Returns the current weights and running statistics.
    pub(crate) fn weights(&self) -> Result<Vec<NamedTensor>> {
        self.loaded.params.state()
    }

    /// Replaces the weights and running statistics. The moments stay as they are.
    pub(crate) fn set_weights(&mut self, state: &ModelState) -> Result<()> {
        self.loaded.params.set(state, "the parameter server")
    }

    /// Returns the final state: the moments, the moving average, the weights and the running statistics. Each part is
    /// freed before the next one is copied, to save memory.
    pub(crate) fn into_state(self) -> Result<Vec<NamedTensor>> {
        let Self { loaded, optimizer, average, .. } = self;
        let mut tensors = optimizer.state()?;
        drop(optimizer);
        if let Some(average) = average {
            tensors.extend(average.state()?);
        }
        tensors.extend(loaded.params.state()?);
        Ok(tensors)
    }

    /// Returns the seconds spent in libtorch since the last call.
    pub(crate) fn take_libtorch_seconds(&mut self) -> f64 {
        std::mem::take(&mut self.clock).seconds()
    }
}

/// Counts the steps of an epoch and reports the progress every [`REPORT_EVERY`].
pub(crate) struct Meter {
    started: Instant,
    reported: Instant,
    total: usize,
    /// The range of the epoch's rows that these steps train on.
    slice: Range<usize>,
    pub(crate) rows: usize,
    pub(crate) loss: LossSum,
    pub(crate) learning_rate: f64,
}

impl Meter {
    /// Creates a meter for a slice of an epoch with `total` rows.
    pub(crate) fn new(total: usize, slice: Range<usize>) -> Self {
        let now = Instant::now();
        Self { started: now, reported: now, total, slice, rows: 0, loss: LossSum::default(), learning_rate: 0.0 }
    }

    /// Counts a step.
    pub(crate) fn count(&mut self, learner: &mut Learner<'_>, epoch: u32, step: &Step) -> Result<()> {
        self.loss.add(step)?;
        self.rows += step.rows;
        self.learning_rate = step.learning_rate;
        // The last step of a slice is always reported, because the metrics count images from the reports.
        if self.reported.elapsed() >= REPORT_EVERY || self.rows >= self.slice.len() {
            let rate = self.rows as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            let loss = learner.read(&self.loss)? / self.rows.max(1) as f64;
            learner.env.report(epoch, (self.slice.start, self.slice.start + self.rows, self.total), rate, Some(loss));
            self.reported = Instant::now();
        }
        Ok(())
    }
}

/// Returns the index of each row's class.
///
/// # Errors
/// When the model does not have the class of a row.
pub(crate) fn truth_of(batch: &[Row], classes: &[Option<usize>]) -> Result<Vec<i64>> {
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
