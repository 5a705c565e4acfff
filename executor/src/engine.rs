//! The training engine: takes a task, finds or builds the worker's shard, and answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tusk_core::codec::{decode_plan, encode_plan};
use tusk_core::engine::TrainEngine;
use tusk_core::event::{Progress, ProgressSink, SharedProgress};
use tusk_core::ids::WorkerId;
use tusk_core::manifest::Timing;
use tusk_core::physical::{
    Phase, PhaseReport, REPORT, Rows, TrainTask, answer_rows, answer_schema, shard_key, tensor_rows,
};
use tusk_core::protocol::DeviceWork;
use tusk_core::state::ModelState;
use tusk_core::store::ModelStore;

use crate::activity::Activity;
use crate::asynchronous::{Turns, exchange};
use crate::devices::DevicePool;
use crate::error::{Error, Result};
use crate::figures::Figures;
use crate::last_state::LastState;
use crate::parameters::{ParameterClient, SchedulerAddress};
use crate::session::{has_bf16, initial_state};
use crate::shard::{CacheLimits, Row, Shard, ShardBuilder, ShardCache, ShardKey};
use crate::trainer::{TaskEnvironment, score, train_epoch};
use crate::transfer::fit;

/// Rows of the source that are decoded at a time: bounds the encoded bytes in memory.
const SOURCE_BATCH_ROWS: usize = 64;

/// Answers that wait for the shuffle writer.
const ANSWERS_WAITING_MAX: usize = 2;

/// Runs training tasks with libtorch.
#[derive(Debug)]
pub struct TorchEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cache: Arc<ShardCache>,
    codec: Arc<dyn PhysicalExtensionCodec>,
    activity: Arc<Activity>,
    devices: Arc<DevicePool>,
    /// The scheduler whose tasks these are.
    scheduler: OnceLock<SchedulerAddress>,
    last_state: LastState,
}

/// Tells the threads of a task that nobody waits for their answer any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One worker's task with everything it needs.
struct Work {
    shared: Arc<Shared>,
    task: Arc<TrainTask>,
    worker: WorkerId,
    cancelled: Arc<AtomicBool>,
}

impl TorchEngine {
    /// An engine with this cache, which tells plans apart by `codec`, computes on `devices` and reports to `progress`.
    ///
    /// # Errors
    /// When its figures cannot be made.
    pub fn new(
        limits: CacheLimits,
        codec: Arc<dyn PhysicalExtensionCodec>,
        devices: DevicePool,
        progress: SharedProgress,
    ) -> Result<Self> {
        let cache = Arc::new(ShardCache::new(limits));
        let activity = Arc::new(Activity::new(Figures::new()?, progress, devices.changed()));
        let devices = Arc::new(devices);
        let scheduler = OnceLock::new();
        let shared = Shared { cache, codec, activity, devices, scheduler, last_state: LastState::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Says where the scheduler is, for workers that exchange weights with it. The first to say so is right.
    pub(crate) fn set_scheduler(&self, address: SchedulerAddress) {
        let _first = self.shared.scheduler.set(address);
    }

    /// What it is doing.
    pub(crate) fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    /// What it computes on.
    pub(crate) fn devices(&self) -> &Arc<DevicePool> {
        &self.shared.devices
    }

    /// What it keeps.
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
        let work = Work { shared: Arc::clone(&self.shared), task, worker, cancelled: Arc::clone(&cancelled) };
        let mut answers = RecordBatchReceiverStream::builder(answer_schema(), ANSWERS_WAITING_MAX);
        let sender = answers.tx();
        answers.spawn(async move {
            let _guard = CancelOnDrop(cancelled);
            let running = work.shared.activity.begin(&work.task, work.worker);
            let result = work.run(source, context, sender).await;
            running.end(&result);
            result.map_err(DataFusionError::from)
        });
        Ok(answers.build())
    }
}

impl Work {
    async fn run(
        self,
        source: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
        sender: Sender<datafusion::error::Result<RecordBatch>>,
    ) -> Result<()> {
        let (shard, built) = self.shard(source, context).await?;
        let state = match self.task.phase {
            Phase::Profile => Arc::default(),
            // One worker answers for all.
            Phase::Adapt if self.worker.0 > 0 => Arc::default(),
            Phase::Adapt | Phase::Train | Phase::Exchange | Phase::Validate => {
                let started = Instant::now();
                let state = self.state().await?;
                self.figures().observe("pull", started.elapsed().as_secs_f64());
                state
            }
        };
        let client = match self.task.phase {
            Phase::Exchange => Some(self.parameters()?),
            Phase::Profile | Phase::Adapt | Phase::Train | Phase::Validate => None,
        };
        let compute = tokio::task::spawn_blocking(move || self.compute(&shard, built, state, client, &sender));
        compute.await.map_err(|e| DataFusionError::Execution(format!("a training thread stopped: {e}")))?
    }

    /// The worker's shard, and whether it had to be built.
    async fn shard(&self, source: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<(Arc<Shard>, bool)> {
        let key = ShardKey(shard_key(&self.task, self.worker));
        let plan = encode_plan(source, self.shared.codec.as_ref())?;
        // A plan of its own for each build: the scans of one plan share the list of what is left to read, so a second
        // reader of the same plan finds it empty.
        let source = decode_plan(&plan, &context, self.shared.codec.as_ref())?;
        let (shard, built) = self.shared.cache.get_or_build(key, self.build(source, context)).await?;
        if built {
            self.figures().shard_misses.inc();
            self.figures().observe("decode", shard.seconds);
        } else {
            self.figures().shard_hits.inc();
        }
        Ok((shard, built))
    }

    fn figures(&self) -> &Figures {
        &self.shared.activity.figures
    }

    async fn build(&self, source: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Shard> {
        let mut builder = ShardBuilder::new(
            Arc::clone(&self.shared.cache),
            (self.worker, self.task.workers),
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
                builder = pushed.map_err(|e| DataFusionError::Execution(format!("decoding stopped: {e}")))??;
                self.report_decoding(&builder);
            }
        }
        builder.finish()
    }

    fn report_decoding(&self, builder: &ShardBuilder) {
        let (images, seconds) = builder.progress();
        self.shared.activity.report(Progress {
            run: self.task.run.clone(),
            worker: self.worker,
            epoch: 0,
            images,
            images_before: 0,
            images_total: None,
            images_per_second: images as f64 / seconds.max(1e-9),
            loss: None,
        });
    }

    /// The worker's line to the parameter service.
    fn parameters(&self) -> Result<ParameterClient> {
        let Some(session) = self.task.parameters.clone() else { return Err(self.no_service()) };
        let Some(scheduler) = self.shared.scheduler.get() else { return Err(self.no_service()) };
        let (run, cancelled) = (self.task.run.clone(), Arc::clone(&self.cancelled));
        ParameterClient::new(scheduler, session, run, self.worker, cancelled)
    }

    fn no_service(&self) -> Error {
        let reason = format!("worker {} is to exchange weights and knows no parameter service", self.worker);
        tusk_core::Error::Wire { what: "training task", reason }.into()
    }

    /// The weights and moments to start from.
    async fn state(&self) -> Result<Arc<ModelState>> {
        let Some(file) = &self.task.weights else { return Ok(Arc::new(initial_state(&self.task.definition))) };
        if let Some(state) = self.shared.last_state.get(&file.checksum) {
            return Ok(state);
        }
        let state = Arc::new(ModelStore::open(&self.task.store)?.read_state(file).await?);
        self.shared.last_state.put(&file.checksum, &state);
        Ok(state)
    }

    /// What happens on the training thread.
    fn compute(
        &self,
        shard: &Shard,
        built: bool,
        state: Arc<ModelState>,
        client: Option<ParameterClient>,
        sender: &Sender<datafusion::error::Result<RecordBatch>>,
    ) -> Result<()> {
        let send_row = |row: tusk_core::Result<RecordBatch>| -> Result<()> {
            sender.blocking_send(Ok(row?)).map_err(|_| Error::Cancelled)
        };
        let send = |name: &str, data: &[u8]| answer_rows(self.worker, name, data).try_for_each(send_row);
        let send_report = |mut report: PhaseReport| -> Result<()> {
            if built {
                report.timing.decode = shard.seconds;
                report.decoded = shard.rows.len() as u64;
            }
            let json = serde_json::to_vec(&report).map_err(|e| DataFusionError::External(Box::new(e)))?;
            send(REPORT, &json)
        };
        if self.task.phase == Phase::Profile {
            send_report(profile(shard, &self.task))?;
            // What finds rows that are on both sides of a split.
            let words =
                |word: fn(&Row) -> u64| shard.rows.iter().flat_map(|r| word(r).to_le_bytes()).collect::<Vec<_>>();
            send("contents", &words(|row| row.content))?;
            send("looks", &words(|row| row.look))?;
            return send("keys", &words(|row| row.key));
        }
        if self.task.phase == Phase::Adapt {
            if self.worker.0 > 0 {
                return send_report(PhaseReport::default());
            }
            let (fitted, transfer) = fit(&state, &initial_state(&self.task.definition));
            // A row, so that it counts where workers are averaged.
            send_report(PhaseReport { rows: 1, transfer: Some(transfer), ..PhaseReport::default() })?;
            return fitted.iter().try_for_each(|tensor| tensor_rows(self.worker, tensor).try_for_each(send_row));
        }
        let work = DeviceWork { run: self.task.run.clone(), worker: self.worker, epoch: self.task.epoch };
        let wanted = self.task.definition.spec.device;
        let lease = self.shared.devices.acquire(wanted, work.clone(), &self.cancelled)?;
        tch::set_num_threads(i32::try_from(self.task.threads).unwrap_or(1));
        let env = TaskEnvironment {
            task: &self.task,
            worker: self.worker,
            cancelled: &self.cancelled,
            progress: self.shared.activity.as_ref(),
            device: lease.device(),
        };
        match self.task.phase {
            Phase::Profile | Phase::Adapt => Ok(()),
            Phase::Exchange => {
                let mut client = client.ok_or_else(|| self.no_service())?;
                let mut turns = Turns::new(lease, &self.shared.devices, work, &self.cancelled);
                let report = exchange(&env, shard, &state, &mut client, &mut turns)?;
                drop(turns);
                self.figures().observe("train", report.timing.train);
                self.figures().observe("exchange", report.timing.exchange);
                send_report(report)
            }
            Phase::Train => {
                let (report, tensors) = train_epoch(&env, shard, state)?;
                drop(lease);
                self.figures().observe("train", report.timing.train);
                let started = Instant::now();
                send_report(report)?;
                // By value: a tensor's memory is free once its rows are on their way.
                tensors.into_iter().try_for_each(|tensor| tensor_rows(self.worker, &tensor).try_for_each(send_row))?;
                self.figures().observe("push", started.elapsed().as_secs_f64());
                Ok(())
            }
            Phase::Validate => {
                let (report, scores) = score(&env, shard, &state)?;
                drop(lease);
                self.figures().observe("validate", report.timing.validate);
                self.figures().images_scored.inc_by(report.rows);
                send_report(report)?;
                send("truth", &scores.truth.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
                send("probabilities", &scores.probabilities.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
                send("groups", &scores.groups.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
            }
        }
    }
}

/// What the scheduler needs to know of a shard.
fn profile(shard: &Shard, task: &TrainTask) -> PhaseReport {
    let spec = &task.definition.spec;
    let selected = |rows| shard.select(rows, spec, &task.dropped);
    let (training, held_out) = match task.rows {
        Rows::All => (selected(Rows::All), Vec::new()),
        _ => (selected(Rows::Training), selected(Rows::HeldOut)),
    };
    let count = |rows: &[Row]| {
        let mut counts = std::collections::BTreeMap::new();
        for row in rows {
            *counts.entry(shard.labels[row.label as usize].clone()).or_default() += 1;
        }
        counts
    };
    let hash = |row: &Row| {
        let label = &shard.labels[row.label as usize];
        tusk_core::random::derive(row.content, label, &[])
    };
    PhaseReport {
        rows: shard.rows.len() as u64,
        rows_seen: shard.rows_seen,
        train_rows: count(&training),
        val_rows: count(&held_out),
        null_labels: shard.null_labels,
        skipped: shard.skipped,
        unreadable: shard.unreadable.clone(),
        pixel_sum: training.iter().map(|row| row.sum).sum(),
        pixel_square_sum: training.iter().map(|row| row.square_sum).sum(),
        pixel_count: training.len() as u64 * shard.image_bytes as u64,
        fingerprint: shard.rows.iter().map(hash).fold(0, u64::wrapping_add),
        has_bf16: has_bf16(),
        timing: Timing::default(),
        ..PhaseReport::default()
    }
}

/// The context with batches small enough that a batch of full-size images fits in memory.
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
