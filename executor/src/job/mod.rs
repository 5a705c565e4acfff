//! Runs the jobs. Each job is implemented in the file of its name.

pub(crate) mod adapt;
pub(crate) mod engine;
pub(crate) mod exchange;
mod fit_weights;
mod profile;
pub(crate) mod train;
pub(crate) mod validate;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tokio::sync::mpsc::Sender;
use tusk_core::job::{Job, JobInput, Report};
use tusk_core::manifest::FileRef;
use tusk_core::physical::{report_rows, tensor_rows};
use tusk_core::protocol::DeviceWork;
use tusk_core::state::{ModelState, NamedTensor};
use tusk_core::store::ModelStore;

use crate::error::{Error, Result};
use crate::job::worker::Worker;
use crate::nets::loaded::initial_state;
use crate::runtime::devices::DeviceLease;
use crate::runtime::metrics::Metrics;
use crate::shard::Shard;
use crate::train::trainer::TaskEnvironment;

/// Sends the rows of a task output.
pub(crate) type TaskOutputs = Sender<datafusion::error::Result<RecordBatch>>;

/// A worker with its shard, and the channel for its task output.
pub(crate) struct Work {
    pub(crate) worker: Worker,
    pub(crate) shard: Arc<Shard>,
    /// Whether this task built the shard.
    pub(crate) is_built: bool,
    pub(crate) outputs: TaskOutputs,
}

/// Runs the worker's job.
pub(crate) async fn run(work: Work) -> Result<()> {
    match work.worker.task.job.clone() {
        Job::Profile(job) => profile::run(work, job).await,
        Job::FitWeights(job) => fit_weights::run(work, job).await,
        Job::Train(job) => train::run(work, job).await,
        Job::Exchange(job) => exchange::run(work, job).await,
        Job::Validate(job) => validate::run(work, job).await,
        Job::Adapt(job) => adapt::run(work, job).await,
    }
}

impl Work {
    fn metrics(&self) -> &Metrics {
        &self.worker.engine.tasks.metrics
    }

    /// Reads the weights and moments of a file. Without a file, returns the initial weights that follow from the seed.
    async fn state(&self, file: Option<&FileRef>) -> Result<Arc<ModelState>> {
        let started = Instant::now();
        let state = match file {
            Some(file) => self.read(file).await?,
            None => Arc::new(initial_state(&self.worker.task.definition)),
        };
        self.metrics().observe("pull", started.elapsed().as_secs_f64());
        Ok(state)
    }

    async fn read(&self, file: &FileRef) -> Result<Arc<ModelState>> {
        let cache = &self.worker.engine.checkpoint_cache;
        if let Some(state) = cache.get(&file.checksum) {
            return Ok(state);
        }
        let state = Arc::new(ModelStore::open(&self.worker.task.store)?.read_state(file).await?);
        cache.put(&file.checksum, &state);
        Ok(state)
    }

    /// Runs `work`, which blocks, on its own thread.
    async fn compute(self, work: impl FnOnce(&Self) -> Result<()> + Send + 'static) -> Result<()> {
        let computed = tokio::task::spawn_blocking(move || work(&self)).await;
        computed.map_err(|e| DataFusionError::Execution(format!("the training thread failed: {e}")))?
    }

    /// Waits for a device, and sets libtorch's thread count to the run's threads per worker.
    fn acquire(&self, work: DeviceWork) -> Result<DeviceLease> {
        let Worker { engine, task, cancelled, .. } = &self.worker;
        let lease = engine.devices.acquire(task.definition.spec.distribution.device, work, cancelled)?;
        tch::set_num_threads(i32::try_from(task.threads).unwrap_or(1));
        Ok(lease)
    }

    /// Describes this worker's work on a device for reports.
    fn device_work(&self, epoch: u32) -> DeviceWork {
        DeviceWork { run: self.worker.task.run.clone(), worker: self.worker.id, epoch }
    }

    fn environment(&self, lease: &DeviceLease) -> TaskEnvironment<'_> {
        TaskEnvironment {
            task: &self.worker.task,
            worker: self.worker.id,
            cancelled: &self.worker.cancelled,
            progress: self.worker.engine.tasks.as_ref(),
            device: lease.device(),
        }
    }

    /// Sends the report of a job, with the time and count of the images that this task decoded. The report is the first
    /// part of a task output.
    fn report<J: JobInput>(&self, _job: &J, mut report: J::Report) -> Result<()> {
        if self.is_built {
            let task = report.task_mut();
            task.timing.decode = self.shard.seconds;
            task.decoded = self.shard.rows.len() as u64;
        }
        self.send(report_rows(self.worker.id, &report)?.into_iter().map(Ok))
    }

    fn send(&self, rows: impl IntoIterator<Item = tusk_core::Result<RecordBatch>>) -> Result<()> {
        rows.into_iter().try_for_each(|row| self.outputs.blocking_send(Ok(row?)).map_err(|_| Error::Cancelled))
    }

    fn send_tensor(&self, tensor: &NamedTensor) -> Result<()> {
        self.send(tensor_rows(self.worker.id, tensor))
    }
}
