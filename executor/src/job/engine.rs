//! Runs training tasks: gets or builds the worker's shard, then runs the job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use futures::StreamExt;
use tusk_core::codec::{decode_plan, encode_plan};
use tusk_core::engine::TrainEngine;
use tusk_core::event::{Progress, ProgressSink, SharedProgress};
use tusk_core::ids::WorkerId;
use tusk_core::job::TrainTask;
use tusk_core::physical::output_schema;

use crate::error::{Error, Result};
use crate::job::worker::{Shared, Worker};
use crate::job::{self, TaskOutputs, Work};
use crate::runtime::checkpoint_cache::CheckpointCache;
use crate::runtime::devices::DevicePool;
use crate::runtime::metrics::Metrics;
use crate::runtime::tasks::Tasks;
use crate::shard::{CacheLimits, Shard, ShardBuilder, ShardCache, ShardKey};
use crate::train::parameter_client::SchedulerAddress;

/// The number of source rows that are decoded at a time. It limits the encoded bytes in memory.
const SOURCE_BATCH_ROWS: usize = 64;

/// The number of batches of a task output that may wait for the shuffle writer.
const OUTPUTS_WAITING_MAX: usize = 2;

/// Runs training tasks with libtorch.
#[derive(Debug)]
pub struct TorchEngine {
    shared: Arc<Shared>,
}

/// Cancels a task when dropped: sets the flag that the threads of the task check.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl TorchEngine {
    /// Creates an engine with a shard cache of these limits. It copies plans with `codec`, computes on `devices` and
    /// reports to `progress`.
    ///
    /// # Errors
    /// When its metrics cannot be created.
    pub fn new(
        limits: CacheLimits,
        codec: Arc<dyn PhysicalExtensionCodec>,
        devices: DevicePool,
        progress: SharedProgress,
    ) -> Result<Self> {
        let cache = Arc::new(ShardCache::new(limits));
        let tasks = Arc::new(Tasks::new(Metrics::new()?, progress, devices.changed()));
        let devices = Arc::new(devices);
        let scheduler = OnceLock::new();
        let shared = Shared { cache, codec, tasks, devices, scheduler, checkpoint_cache: CheckpointCache::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Sets the address of the scheduler, for workers that exchange weights with it. Later calls have no effect.
    pub(crate) fn set_scheduler(&self, address: SchedulerAddress) {
        let _first = self.shared.scheduler.set(address);
    }

    /// The tasks that run.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// The devices that tasks compute on.
    pub(crate) fn devices(&self) -> &Arc<DevicePool> {
        &self.shared.devices
    }

    /// The shard cache.
    pub(crate) fn cache(&self) -> &ShardCache {
        &self.shared.cache
    }
}

impl TrainEngine for TorchEngine {
    fn run(
        &self,
        task: Arc<TrainTask>,
        worker: WorkerId,
        source: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let worker = Worker { engine: Arc::clone(&self.shared), task, id: worker, cancelled: Arc::clone(&cancelled) };
        let mut stream = RecordBatchReceiverStream::builder(output_schema(), OUTPUTS_WAITING_MAX);
        let outputs = stream.tx();
        stream.spawn(async move {
            let _guard = CancelOnDrop(cancelled);
            let running = worker.engine.tasks.begin(&worker.task, worker.id);
            let result = worker.run(source, context, outputs).await;
            running.end(&result);
            result.map_err(DataFusionError::from)
        });
        Ok(stream.build())
    }
}

impl Worker {
    async fn run(self, source: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, outputs: TaskOutputs) -> Result<()> {
        let (shard, is_built) = self.shard(source, context).await?;
        job::run(Work { worker: self, shard, is_built, outputs }).await
    }

    /// Returns the worker's shard and whether this task built it.
    async fn shard(&self, source: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<(Arc<Shard>, bool)> {
        let key = ShardKey(self.task.shard_key(self.id));
        let (shard, built) = self.engine.cache.get_or_build(key, self.build(source, context)).await?;
        let metrics = &self.engine.tasks.metrics;
        if built {
            metrics.shard_misses.inc();
            metrics.observe("decode", shard.seconds);
        } else {
            metrics.shard_hits.inc();
        }
        Ok((shard, built))
    }

    async fn build(&self, source: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Shard> {
        // Each build needs its own copy of the plan. The scans of a plan share the list of the files left to read, so a
        // second reader of the same plan would get no rows.
        let codec = self.engine.codec.as_ref();
        let source = decode_plan(&encode_plan(source, codec)?, &context, codec)?;
        let mut builder = ShardBuilder::new(
            Arc::clone(&self.engine.cache),
            (self.id, self.task.workers),
            &self.task.definition.preprocessing,
            self.task.threads as usize,
            Arc::clone(&self.cancelled),
        );
        let context = with_small_batches(&context);
        for partition in 0..source.output_partitioning().partition_count() {
            let mut batches = source.execute(partition, Arc::clone(&context))?;
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                let push = move || {
                    let mut builder = builder;
                    for start in (0..batch.num_rows()).step_by(SOURCE_BATCH_ROWS) {
                        let length = SOURCE_BATCH_ROWS.min(batch.num_rows() - start);
                        builder.push(&batch.slice(start, length))?;
                    }
                    Ok::<_, Error>(builder)
                };
                let pushed = tokio::task::spawn_blocking(push).await;
                builder =
                    pushed.map_err(|e| DataFusionError::Execution(format!("the decoding thread failed: {e}")))??;
                self.report_decoding(&builder);
            }
        }
        builder.finish()
    }

    fn report_decoding(&self, builder: &ShardBuilder) {
        let (images, seconds) = builder.progress();
        self.engine.tasks.report(Progress {
            run: self.task.run.clone(),
            worker: self.id,
            epoch: 0,
            images,
            images_before: 0,
            images_total: None,
            images_per_second: images as f64 / seconds.max(1e-9),
            loss: None,
        });
    }
}

/// Returns the context with a batch size small enough that a batch of full-size images fits in memory.
fn with_small_batches(context: &Arc<TaskContext>) -> Arc<TaskContext> {
    let config = context.session_config().clone().with_batch_size(SOURCE_BATCH_ROWS);
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::common::collect;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
    use tusk_core::event::NoProgress;
    use tusk_core::job::{Profile, ProfileReport, Rows, Selection};
    use tusk_core::options::Architecture;
    use tusk_core::physical::{TaskOutput, TaskUnionExec};

    use super::*;
    use crate::testing::{definition, squares, table, task};

    #[tokio::test]
    async fn a_worker_with_a_cached_shard_does_not_read_the_source() {
        let limits = CacheLimits { memory_bytes_max: 1 << 30, ..CacheLimits::default() };
        let codec = Arc::new(DefaultPhysicalExtensionCodec {});
        let devices = DevicePool::new("cpu", 1).unwrap();
        let engine = TorchEngine::new(limits, codec, devices, Arc::new(NoProgress)).unwrap();
        let rows = table(&squares(8));
        let source: Arc<dyn ExecutionPlan> =
            MemorySourceConfig::try_new_exec(&[vec![rows.clone()]], rows.schema(), None).unwrap();
        // The codec cannot encode this plan.
        let children = vec![Arc::clone(&source), Arc::clone(&source)];
        let union: Arc<dyn ExecutionPlan> = Arc::new(TaskUnionExec::try_new(children).unwrap());
        let job = Profile { selection: Selection { rows: Rows::All, dropped: Vec::new() } };
        let task = Arc::new(TrainTask { job: job.into(), ..task(&definition(Architecture::CNN), 1) });
        let context = SessionContext::new().task_ctx();
        let decoded = async |source: &Arc<dyn ExecutionPlan>| {
            let stream = engine.run(Arc::clone(&task), WorkerId(0), Arc::clone(source), Arc::clone(&context));
            let batches = collect(stream.unwrap()).await?;
            let report = TaskOutput::rows(&batches[0]).unwrap().next().unwrap().report::<ProfileReport>();
            let report = report.unwrap().unwrap();
            Ok::<_, DataFusionError>((report.task.rows, report.task.decoded))
        };
        assert!(decoded(&union).await.is_err(), "a source that cannot be encoded was read");
        assert_eq!(decoded(&source).await.unwrap(), (8, 8));
        assert_eq!(decoded(&union).await.unwrap(), (8, 0));
    }
}
