//! Trains a worker of an asynchronous or hogwild run: it pulls weights, trains on its rows and pushes the differences,
//! up to the last epoch.
//!
//! Pushes are numbered over the run, and the parameter server returns the number of the last push that it applied. A
//! retried task continues with the batch after that push. The optimizer's moments are not exchanged; they stay on the
//! worker. Before each exchange the worker releases its device if another task waits for it, so that workers and
//! validation tasks that share a device take turns.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tusk_core::job::{Exchange, ExchangeReport, Selection};
use tusk_core::manifest::Timing;
use tusk_core::options::{Device, Frequency};
use tusk_core::protocol::DeviceWork;
use tusk_core::protocol::parameters::{PulledWeights, Push};
use tusk_core::state::{ModelState, NamedTensor, is_running_statistic};

use super::Work;
use crate::error::Result;
use crate::job::worker::Worker;
use crate::runtime::devices::{DeviceLease, DevicePool};
use crate::shard::{Row, Shard};
use crate::train::parameter_client::ParameterClient;
use crate::train::trainer::{Learner, LossSum, Meter, TaskEnvironment};

pub(super) async fn run(work: Work, job: Exchange) -> Result<()> {
    let state = work.state(job.weights.as_ref()).await?;
    let mut client = client(&work.worker, &job)?;
    work.compute(move |work| {
        let turn = work.device_work(job.first_epoch);
        let lease = work.acquire(turn.clone())?;
        let env = work.environment(&lease);
        let mut turns = Turns::new(lease, &work.worker.engine.devices, turn, &work.worker.cancelled);
        let report = exchange(&env, &job.selection, &work.shard, &state, &mut client, &mut turns)?;
        drop(turns);
        work.metrics().observe("train", report.task.timing.train);
        work.metrics().observe("exchange", report.task.timing.exchange);
        work.report(&job, report)
    })
    .await
}

/// Creates the worker's client of the parameter server.
fn client(worker: &Worker, job: &Exchange) -> Result<ParameterClient> {
    let Some(scheduler) = worker.engine.scheduler.get() else {
        let reason = format!(
            "worker {} has to exchange weights, but the address of the parameter server is not known",
            worker.id
        );
        return Err(tusk_core::Error::Wire { what: "training task", reason }.into());
    };
    let (session, run, cancelled) = (job.session.clone(), worker.task.run.clone(), Arc::clone(&worker.cancelled));
    ParameterClient::new(scheduler, session, run, worker.id, cancelled)
}

/// The times during which a worker holds its device.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    lease: Option<DeviceLease>,
    pool: &'a Arc<DevicePool>,
    wanted: Device,
    work: DeviceWork,
    cancelled: &'a AtomicBool,
}

impl<'a> Turns<'a> {
    /// Starts with a turn that holds `lease`.
    pub(crate) fn new(
        lease: DeviceLease,
        pool: &'a Arc<DevicePool>,
        work: DeviceWork,
        cancelled: &'a AtomicBool,
    ) -> Self {
        Self { wanted: lease.request(), lease: Some(lease), pool, work, cancelled }
    }

    /// Waits for the worker's next turn.
    fn take(&mut self, epoch: u32) -> Result<()> {
        if self.lease.is_none() {
            let work = DeviceWork { epoch, ..self.work.clone() };
            self.lease = Some(self.pool.acquire(self.wanted, work, self.cancelled)?);
        }
        Ok(())
    }

    /// Releases the device if another task waits for one.
    fn release_if_needed(&mut self) {
        if self.pool.waiting() > 0 {
            self.lease = None;
        }
    }
}

/// Trains all epochs and exchanges weights with the parameter server. `start` holds the initial weights of a new run.
pub(crate) fn exchange(
    env: &TaskEnvironment<'_>,
    selection: &Selection,
    shard: &Shard,
    start: &ModelState,
    client: &mut ParameterClient,
    turns: &mut Turns<'_>,
) -> Result<ExchangeReport> {
    let mut report = ExchangeReport::default();
    let Some(mut learner) = Learner::new(env, selection, shard, start)? else { return Ok(report) };
    turns.release_if_needed();
    let spec = &env.task.definition.spec;
    let steps = learner.steps();
    let pushes_per_epoch = match spec.distribution.frequency {
        Frequency::Epoch => 1,
        Frequency::Batch => steps,
    };
    let mut base = join(client, start)?;
    let mut meter = Meter::new(learner.rows(), 0..learner.rows());
    let mut current: Option<(u32, Vec<Row>)> = None;
    let mut exchanged = 0.0;
    loop {
        let (epoch, exchange) = position(base.step, pushes_per_epoch);
        if base.stop || epoch > spec.training.epochs {
            return Ok(report);
        }
        let order = match current.take().filter(|(of, _)| *of == epoch) {
            Some((_, order)) => order,
            None => {
                meter = Meter::new(learner.rows(), 0..learner.rows());
                learner.order(epoch)
            }
        };
        let (first, end) = (exchange * steps / pushes_per_epoch, (exchange + 1) * steps / pushes_per_epoch);
        turns.take(epoch)?;
        let started = Instant::now();
        learner.set_weights(&base.weights)?;
        let (mut rows, mut loss, mut learning_rate) = (0, LossSum::default(), 0.0);
        for step in first..end {
            let step = learner.step(epoch, &order, step)?;
            rows += step.rows as u64;
            loss.add(&step)?;
            learning_rate = step.learning_rate;
            meter.count(&mut learner, epoch, &step)?;
        }
        let loss_sum = learner.read(&loss)?;
        let update = changes(learner.weights()?, &base.weights);
        turns.release_if_needed();
        let (train, libtorch) = (started.elapsed().as_secs_f64(), learner.take_libtorch_seconds());
        let timing = Timing { train, libtorch, exchange: std::mem::take(&mut exchanged), ..Timing::default() };
        report.task.rows += rows;
        report.task.timing += timing;
        let push = Push {
            step: base.step + 1,
            epoch,
            ends_epoch: end == steps,
            base_version: base.version,
            rows,
            loss_sum,
            learning_rate,
            timing,
            ..client.update()
        };
        let started = Instant::now();
        if client.push(push, update)?.stop {
            return Ok(report);
        }
        base = pull(client, base)?;
        // Reported with the next push.
        exchanged = started.elapsed().as_secs_f64();
        current = Some((epoch, order));
    }
}

/// The pulled weights that a worker trains from, with the worker's position in the run.
struct Base {
    weights: ModelState,
    version: u64,
    step: u64,
    stop: bool,
}

/// Pulls for the first time. If the parameter server has no weights yet, pushes the initial ones and pulls again.
fn join(client: &mut ParameterClient, start: &ModelState) -> Result<Base> {
    let (mut pulled, mut weights) = client.pull(None, start)?;
    if pulled.weights == PulledWeights::Missing {
        client.push_start(start)?;
        (pulled, weights) = client.pull(None, start)?;
    }
    let weights = weights.unwrap_or_else(|| start.without_optimizer());
    Ok(Base { weights, version: pulled.version, step: pulled.step, stop: pulled.stop })
}

fn pull(client: &mut ParameterClient, base: Base) -> Result<Base> {
    let (pulled, weights) = client.pull(Some(base.version), &base.weights)?;
    let weights = weights.unwrap_or(base.weights);
    Ok(Base { weights, version: pulled.version, step: pulled.step, stop: pulled.stop })
}

/// The epoch, counted from 1, and the exchange in that epoch, counted from 0, that follow after `pushes` pushes.
fn position(pushes: u64, pushes_per_epoch: usize) -> (u32, usize) {
    let per_epoch = pushes_per_epoch.max(1) as u64;
    let epoch = u32::try_from(pushes / per_epoch + 1).unwrap_or(u32::MAX);
    (epoch, usize::try_from(pushes % per_epoch).unwrap_or(0))
}

/// The content of a push: the differences of learned tensors, and the values of running statistics.
fn changes(mut now: Vec<NamedTensor>, base: &ModelState) -> Vec<NamedTensor> {
    for tensor in now.iter_mut().filter(|tensor| !is_running_statistic(&tensor.name)) {
        if let Some(before) = base.get(&tensor.name) {
            tensor.data.iter_mut().zip(&before.data).for_each(|(now, before)| *now -= before);
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_continues_after_its_last_push() {
        assert_eq!([0, 1, 2].map(|pushes| position(pushes, 1)), [(1, 0), (2, 0), (3, 0)]);
        assert_eq!([0, 4, 5, 11].map(|pushes| position(pushes, 5)), [(1, 0), (1, 4), (2, 0), (3, 1)]);
    }

    #[test]
    fn a_push_contains_differences_of_weights_and_values_of_statistics() {
        let tensor = |name: &str, value| NamedTensor { name: name.to_owned(), shape: vec![1], data: vec![value] };
        let base = ModelState::new([tensor("w", 1.0), tensor("bn.running_var", 2.0)]);
        let changed = changes(vec![tensor("w", 1.5), tensor("bn.running_var", 0.5)], &base);
        assert_eq!(changed, [tensor("w", 0.5), tensor("bn.running_var", 0.5)]);
    }
}
