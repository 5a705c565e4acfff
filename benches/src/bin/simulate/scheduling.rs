//! The scheduler alone: Ballista's scheduler with Tusk's plans, and executors that exist only as its records. A
//! launcher takes the tasks in place of the network, and reports them as done.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CreateUpdateSessionParams, ExecuteQueryParams, MultiTaskDefinition, ShuffleWritePartition, SuccessfulTask,
    TaskStatus, UpdateTaskStatusParams, task_status,
};
use ballista_core::serde::scheduler::{
    ExecutorData, ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification,
};
use ballista_core::{ConfigProducer, JobId, config::TaskSchedulingPolicy};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::metrics::NoopMetricsCollector;
use ballista_scheduler::scheduler_server::{SchedulerServer, SessionBuilder};
use ballista_scheduler::state::executor_manager::ExecutorManager;
use ballista_scheduler::state::task_manager::TaskLauncher;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use futures::StreamExt;
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tusk_benches::cluster::source_schema;
use tusk_benches::probe::{cpu_seconds, resident_bytes};
use tusk_core::codec::encode_plan;
use tusk_core::engine::Predictor;
use tusk_core::job::{EpochSlice, Rows, Selection, Train, TrainTask};
use tusk_core::manifest::{FileRef, ModelDefinition, Preprocessing};
use tusk_core::options::{Architecture, Loss, ModelSpec, Precision};
use tusk_core::physical::TrainExec;
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

use crate::line;

const JOBS: usize = 5;

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Takes tasks in place of executors and reports them as done at once.
struct Launcher {
    done: UnboundedSender<UpdateTaskStatusParams>,
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[async_trait]
impl TaskLauncher for Launcher {
    async fn launch_tasks(
        &self,
        executor: &ExecutorMetadata,
        tasks: Vec<MultiTaskDefinition>,
        _executors: &ExecutorManager,
    ) -> ballista_core::error::Result<HashSet<JobId>> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let bytes: usize = tasks.iter().map(Message::encoded_len).sum();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let task_status = tasks.iter().flat_map(|tasks| statuses(&executor.id, tasks)).collect();
        // Sending fails only when the measurement is over.
        drop(self.done.send(UpdateTaskStatusParams { executor_id: executor.id.clone(), task_status }));
        Ok(HashSet::new())
    }
}

fn statuses(executor: &str, tasks: &MultiTaskDefinition) -> Vec<TaskStatus> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let partition = |id: &u32| ShuffleWritePartition {
        partition_id: u64::from(*id),
        num_batches: 1,
        num_rows: 1,
        num_bytes: 1,
        file_id: None,
        is_sort_shuffle: false,
    };
    let status = |task: &ballista_core::serde::protobuf::TaskId| TaskStatus {
        task_id: task.task_id,
        job_id: tasks.job_id.clone(),
        stage_id: tasks.stage_id,
        stage_attempt_num: tasks.stage_attempt_num,
        launch_time: now,
        start_exec_time: now,
        end_exec_time: now,
        metrics: Vec::new(),
        status: Some(task_status::Status::Successful(SuccessfulTask {
            executor_id: executor.to_owned(),
            partitions: task.global_output_partition_ids.iter().map(partition).collect(),
            ..SuccessfulTask::default()
        })),
    };
    tasks.task_ids.iter().map(status).collect()
}

pub(crate) fn measure(out: &mut impl Write, executors: u32) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let resident = resident_bytes();
    let measured = runtime.block_on(jobs(executors))?;
    let resident = resident_bytes().saturating_sub(resident);
    writeln!(out, "scheduling a job of {executors} tasks on {executors} executors, {JOBS} times")?;
    let sorted = |of: fn(&Measurement) -> f64| {
        let mut values: Vec<f64> = measured.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        format!("{:.0} / {:.0} / {:.0} ms", values[0], values[values.len() / 2], values[values.len() - 1])
    };
    line(out, "wall time, minimum / median / maximum", &sorted(|f| f.wall.as_secs_f64() * 1e3))?;
    line(out, "processor time, minimum / median / maximum", &sorted(|f| f.cpu_seconds * 1e3))?;
    if let Some(last) = measured.last() {
        let kilobytes = |bytes: u64| format!("{:.1} kB", bytes as f64 / 1e3);
        line(out, "bytes of the submitted plan", &kilobytes(last.plan_bytes))?;
        line(out, "number of messages that launch tasks", &last.messages.to_string())?;
        line(out, "bytes of these messages", &kilobytes(last.launch_bytes))?;
        line(out, "bytes of the job's final status", &kilobytes(last.status_bytes))?;
    }
    line(out, "increase in memory after these jobs", &crate::megabytes(resident))?;
    Ok(())
}

#[derive(Default)]
struct Measurement {
    wall: Duration,
    cpu_seconds: f64,
    plan_bytes: u64,
    messages: u64,
    launch_bytes: u64,
    status_bytes: u64,
}

async fn jobs(executors: u32) -> Result<Vec<Measurement>> {
    let (done, mut ended) = unbounded_channel();
    let launcher = Arc::new(Launcher { done, messages: AtomicU64::new(0), bytes: AtomicU64::new(0) });
    let server = server(executors, Arc::clone(&launcher)).await?;
    let updated = server.clone();
    tokio::spawn(async move {
        while let Some(statuses) = ended.recv().await {
            if SchedulerGrpc::update_task_status(&updated, tonic::Request::new(statuses)).await.is_err() {
                break;
            }
        }
    });
    let session = CreateUpdateSessionParams { session_id: "simulated".into(), settings: Vec::new() };
    server.create_update_session(tonic::Request::new(session)).await?;
    let mut measured = Vec::new();
    for epoch in 1..=JOBS as u32 {
        launcher.messages.store(0, Ordering::Relaxed);
        launcher.bytes.store(0, Ordering::Relaxed);
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let (plan_bytes, status_bytes) = job(&server, epoch, executors).await?;
        measured.push(Measurement {
            wall: started.elapsed(),
            cpu_seconds: cpu_seconds() - cpu,
            plan_bytes,
            messages: launcher.messages.load(Ordering::Relaxed),
            launch_bytes: launcher.bytes.load(Ordering::Relaxed),
            status_bytes,
        });
    }
    Ok(measured)
}

/// A scheduler with these executors registered.
async fn server(executors: u32, launcher: Arc<Launcher>) -> Result<Server> {
    let plan_only: Arc<dyn Predictor> = Arc::new(PlanOnly);
    let session: SessionBuilder =
        Arc::new(move |config| Ok(session_builder(config, Arc::<RuntimeEnv>::default(), &plan_only).build()));
    let produce: ConfigProducer = Arc::new(session_config);
    let config = SchedulerConfig::default()
        .with_scheduler_policy(TaskSchedulingPolicy::PushStaged)
        .with_override_config_producer(Arc::clone(&produce))
        .with_override_session_builder(Arc::clone(&session));
    let cluster = BallistaCluster::new_memory("simulated", session, produce);
    let entries = cluster.cluster_state();
    let codec = BallistaCodec::new(logical_codec(), physical_codec());
    let metrics = Arc::new(NoopMetricsCollector::default());
    let mut server: Server = SchedulerServer::new_with_task_launcher(
        "localhost:50050".into(),
        cluster,
        codec,
        Arc::new(config),
        metrics,
        launcher,
    );
    server.init().await?;
    for executor in 0..executors {
        let id = format!("executor-{executor}");
        let metadata = ExecutorMetadata {
            id: id.clone(),
            host: format!("10.0.{}.{}", executor / 256, executor % 256),
            port: 50051,
            grpc_port: 50052,
            specification: ExecutorSpecification::default().with_vcores(1),
            os_info: ExecutorOperatingSystemSpecification::default(),
        };
        let data = ExecutorData { executor_id: id, total_vcores: 1, available_vcores: 1 };
        entries.register_executor(metadata, data).await?;
    }
    Ok(server)
}

/// Runs a job as the training service does, until the scheduler reports the locations of its rows. Returns the bytes of
/// the plan and of that status.
async fn job(server: &Server, epoch: u32, workers: u32) -> Result<(u64, u64)> {
    let source = Arc::new(EmptyExec::new(source_schema()));
    let plan = TrainExec::try_new(Arc::new(task(epoch, workers)), source)?;
    let plan = encode_plan(Arc::new(plan), physical_codec().as_ref())?;
    let plan_bytes = plan.len() as u64;
    let mut request = tonic::Request::new(ExecuteQueryParams {
        query: Some(Query::PhysicalPlan(plan)),
        settings: Vec::new(),
        session_id: "simulated".into(),
        operation_id: format!("epoch {epoch}"),
    });
    ballista_core::version::insert_version_header(request.metadata_mut());
    let mut statuses = server.execute_query_push(request).await?.into_inner();
    while let Some(update) = statuses.next().await {
        let update = update?;
        let bytes = update.encoded_len() as u64;
        match update.status.and_then(|status| status.status) {
            Some(Status::Successful(done)) => {
                let places = done.partition_location.len();
                ensure!(places == workers as usize, "{places} of {workers} partitions are complete");
                return Ok((plan_bytes, bytes));
            }
            Some(Status::Failed(job)) => bail!("the job failed: {:?}", job.error),
            _ => {}
        }
    }
    None.context("the scheduler reported no end of the job")
}

fn task(epoch: u32, workers: u32) -> TrainTask {
    let spec = ModelSpec::new(Architecture::RESNET18);
    let definition = ModelDefinition {
        classes: vec!["NORMAL".into(), "PNEUMONIA".into()],
        positive: Some(1),
        loss: Loss::BinaryCrossentropy,
        precision: Precision::F32,
        preprocessing: Preprocessing::plain(spec.input.image_size, 1, 0.5, 0.25),
        class_weights: vec![1.0, 1.0],
        spec,
    };
    let selection = Selection { rows: Rows::Training, dropped: Vec::new() };
    let weights = FileRef { path: "models/simulated/checkpoints/1.safetensors".into(), checksum: "0".repeat(64) };
    TrainTask {
        run: "simulated".to_owned().into(),
        workers,
        threads: 1,
        definition,
        store: "s3://models".into(),
        source_checksum: "0".repeat(64),
        job: Train { selection, epoch, slice: EpochSlice::WHOLE, weights: Some(weights) }.into(),
    }
}
