//! Runs a physical plan as a Ballista job: submits it, waits for it, and streams its rows partition by partition.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::client::BallistaClient;
use ballista_core::config::BALLISTA_SHUFFLE_COMPRESSION_CODEC;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::{JobStatus, PartitionLocation, job_status::Status};
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tusk_core::cause::Cause;
use tusk_core::plans::{LogicalMessage, PhysicalMessage};

use crate::error::{Error, Result};

/// Ballista's scheduler, which decodes plans with Tusk's checks.
pub(crate) type Scheduler = SchedulerServer<LogicalMessage, PhysicalMessage>;

/// Maximum number of times that fetching a job's rows is retried, and the wait before each retry.
const FETCH_RETRIES: u8 = 3;
const FETCH_RETRY_WAIT_MS: u64 = 500;

/// Maximum time without a message from an executor while its rows are fetched. A frozen executor keeps its connections.
const FETCH_SILENCE_S: u64 = 20;
const FETCH_SILENCE: Duration = Duration::from_secs(FETCH_SILENCE_S);

/// Number of partitions whose rows are fetched at a time. While one is read, the next one is fetched.
const FETCHES_MAX: usize = 2;

/// Maximum number of batches of a partition that are fetched and wait to be read. A message has 4 MiB or less.
const BATCHES_WAITING_MAX: usize = 2;

/// Maximum number of statuses of a job that wait to be read.
const STATUSES_WAITING_MAX: usize = 16;

/// The text that Ballista writes before a task's own error in the error of its job. Every other error (a lost executor,
/// a lost shuffle file) is an error of the cluster, and another attempt may succeed.
const TASK_ERROR: &str = "runtime execution error";

/// The session of all jobs of training runs.
const SESSION: &str = "tusk-training";

/// The rows of one partition, while they are fetched.
pub(crate) type Fetched = ReceiverStream<Result<RecordBatch>>;

/// The locations of the rows of a finished job, in the order of its partitions.
pub(crate) struct JobRows {
    runner: JobRunner,
    phase: String,
    locations: Vec<PartitionLocation>,
}

impl JobRows {
    /// Returns the rows, partition by partition.
    pub(crate) fn in_turn(self) -> impl Stream<Item = Result<RecordBatch>> {
        let Self { runner, phase, locations } = self;
        futures::stream::iter(locations)
            .map(move |location| std::future::ready(runner.clone().fetch_ahead(phase.clone(), location)))
            .buffered(FETCHES_MAX)
            .flatten()
    }

    /// Returns the rows of `at_a_time` partitions at a time, one stream per partition. At most [`BATCHES_WAITING_MAX`]
    /// batches of each wait to be read.
    pub(crate) fn side_by_side(self, at_a_time: usize) -> impl Iterator<Item = Vec<Fetched>> {
        let Self { runner, phase, locations } = self;
        let mut locations = locations.into_iter();
        std::iter::from_fn(move || {
            let fetch = |location| runner.clone().fetch_ahead(phase.clone(), location);
            let group: Vec<Fetched> = locations.by_ref().take(at_a_time).map(fetch).collect();
            (!group.is_empty()).then_some(group)
        })
    }
}

/// Submits jobs to the scheduler of this process.
#[derive(Clone)]
pub(crate) struct JobRunner {
    scheduler: Scheduler,
    session: Arc<SessionContext>,
    codec: Arc<dyn PhysicalExtensionCodec>,
    message_bytes_max: usize,
    tls: Option<Arc<BallistaConfigGrpcEndpoint>>,
}

impl std::fmt::Debug for JobRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobRunner").field("scheduler", &self.scheduler.scheduler_endpoint).finish_non_exhaustive()
    }
}

impl JobRunner {
    /// Opens a session at the scheduler.
    pub(crate) async fn new(scheduler: Scheduler, codec: Arc<dyn PhysicalExtensionCodec>) -> Result<Self> {
        let sessions = &scheduler.state.session_manager;
        let config = scheduler.state.config.override_config_producer.as_ref().map(|f| f()).unwrap_or_default();
        // Weights do not compress. Trying to compress them takes longer than sending them.
        let config = config.set_str(BALLISTA_SHUFFLE_COMPRESSION_CODEC, "none");
        let session = sessions.create_or_update_session(SESSION, &config).await;
        let session = session.map_err(|e| Error::Cluster { reason: e.to_string() })?;
        let config = &scheduler.state.config;
        let message_bytes_max = config.grpc_client_max_message_size as usize;
        let endpoint = config.override_create_grpc_client_endpoint.clone().filter(|_| config.use_tls);
        let tls = endpoint.map(|f| Arc::new(BallistaConfigGrpcEndpoint::new(f)));
        Ok(Self { scheduler, session, codec, message_bytes_max, tls })
    }

    /// The codec that encodes plans.
    pub(crate) fn codec(&self) -> &Arc<dyn PhysicalExtensionCodec> {
        &self.codec
    }

    /// Returns the context in which plans are decoded.
    pub(crate) fn task_context(&self) -> Arc<TaskContext> {
        self.session.task_ctx()
    }

    /// Returns the number of running jobs and the number of waiting jobs.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.scheduler.running_job_number(), self.scheduler.pending_job_number())
    }

    /// Runs a plan. Its rows stay on the executors until they are fetched. `phase` is its name in errors. If `cancel`
    /// fires, the job's tasks are stopped and the result is `None`.
    pub(crate) async fn run(
        &self,
        phase: &str,
        plan: Arc<dyn ExecutionPlan>,
        cancel: &CancellationToken,
    ) -> Result<Option<JobRows>> {
        let lost = |reason: String| Error::Lost { phase: phase.to_owned(), reason };
        let (subscriber, mut statuses) = mpsc::channel::<JobStatus>(STATUSES_WAITING_MAX);
        let submitted =
            self.scheduler.submit_physical_plan(phase, Arc::clone(&self.session), plan, Some(subscriber)).await;
        let job_id = submitted.map_err(|e| lost(e.to_string()))?;
        let locations = loop {
            let status = tokio::select! {
                status = statuses.recv() => status,
                () = cancel.cancelled() => {
                    if let Err(error) = self.scheduler.cancel_job(job_id.clone()).await {
                        tracing::warn!(%job_id, %error, "the job could not be cancelled");
                    }
                    return Ok(None);
                }
            };
            match status.ok_or_else(|| lost("the scheduler no longer has the job".to_owned()))?.status {
                Some(Status::Successful(done)) => {
                    // They are in the order in which their tasks ended.
                    let mut locations = done.partition_location;
                    locations.sort_by_key(|location| location.partition_id.as_ref().map(|p| p.partition_id));
                    break locations;
                }
                Some(Status::Failed(job)) => return Err(failed(phase, &job.error)),
                Some(Status::Queued(_) | Status::Running(_)) | None => {}
            }
        };
        Ok(Some(JobRows { runner: self.clone(), phase: phase.to_owned(), locations }))
    }

    /// Runs [`Self::fetch`] in a spawned task, which ends when the receiver of its rows is dropped.
    fn fetch_ahead(self, phase: String, location: PartitionLocation) -> Fetched {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        tokio::spawn(async move {
            let mut rows = match self.fetch(&phase, location).await {
                Ok(rows) => Box::pin(rows),
                // If the error cannot be sent, the receiver is dropped and does not need it.
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            while let Some(batch) = rows.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver)
    }

    /// Fetches the rows of one partition from the executor that wrote them.
    async fn fetch(
        &self,
        phase: &str,
        location: PartitionLocation,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let phase = phase.to_owned();
        let lost = move |reason: String| Error::Lost { phase: phase.clone(), reason };
        let layout = location.layout();
        let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
            return Err(lost("the scheduler did not return the location of the rows".to_owned()));
        };
        let port = u16::try_from(executor.port).unwrap_or(0);
        let client = BallistaClient::try_new(
            &executor.host,
            port,
            self.message_bytes_max,
            self.tls.is_some(),
            self.tls.clone(),
            FETCH_RETRIES,
            FETCH_RETRY_WAIT_MS,
            0,
            0,
        );
        let silent = || lost(format!("executor {} has not answered for {FETCH_SILENCE_S} s", executor.id));
        let mut client =
            timeout(FETCH_SILENCE, client).await.map_err(|_| silent())?.map_err(|e| lost(e.to_string()))?;
        let partition = partition.into();
        let rows = client.fetch_partition_proxied(
            &executor.id,
            &partition,
            location.file_id,
            layout,
            &executor.host,
            port,
            // Transfer the file unchanged, in blocks. For a Flight stream, the executor would decode and compress it.
            false,
        );
        let rows = timeout(FETCH_SILENCE, rows).await.map_err(|_| silent())?.map_err(|e| lost(e.to_string()))?;
        let executor_id = executor.id;
        Ok(futures::stream::try_unfold(rows, move |mut rows| {
            let (lost, executor_id) = (lost.clone(), executor_id.clone());
            async move {
                match timeout(FETCH_SILENCE, rows.next()).await {
                    Ok(None) => Ok(None),
                    Ok(Some(batch)) => Ok(Some((batch.map_err(|e| lost(e.to_string()))?, rows))),
                    Err(_) => Err(lost(format!("executor {executor_id} has not answered for {FETCH_SILENCE_S} s"))),
                }
            }
        }))
    }
}

/// Returns the error of a failed job: its own error, or an error of the cluster, after which the job is retried.
fn failed(phase: &str, error: &str) -> Error {
    let (phase, cause) = (phase.to_owned(), Cause::of_text(error));
    // Search only Ballista's own text, not the text that it quotes.
    let words = error.split(['(', '[', '"']).next().unwrap_or(error);
    match words.contains(TASK_ERROR) {
        true => Error::Task { phase, cause },
        false => Error::Lost { phase, reason: cause.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::error::BallistaError;
    use ballista_core::serde::protobuf::FailedTask;
    use datafusion::error::DataFusionError;

    use super::*;

    /// Returns the error of a job whose task failed with this error.
    fn job_error(task: DataFusionError) -> String {
        let error = FailedTask::from(BallistaError::from(task)).error;
        format!("Job failed due to stage 1 failed: {error}\n")
    }

    #[test]
    fn a_tasks_own_error_is_reported_and_a_lost_job_is_retried() {
        let own = || DataFusionError::Execution("x-ray 7 is bad".to_owned());
        let shared = DataFusionError::Shared(Arc::new(own().context("reading")));
        let coded = DataFusionError::from(Cause::of(&own()));
        for (error, message) in [
            (own(), "training failed: x-ray 7 is bad"),
            (shared, "training failed: reading: x-ray 7 is bad"),
            (coded, "training failed: x-ray 7 is bad"),
        ] {
            let error = failed("training", &job_error(error));
            assert!(matches!(error, Error::Task { .. }), "{error:?}");
            assert_eq!(error.to_string(), message);
        }
        let io = DataFusionError::IoError(std::io::Error::other(format!("a label says \"{TASK_ERROR}\"")));
        let fetch = BallistaError::FetchFailed("e1".into(), 1, 2, "gone".into()).into_datafusion();
        for error in [job_error(io), job_error(fetch), "executor e1 is lost".to_owned()] {
            let lost = failed("training", &error);
            assert!(matches!(lost, Error::Lost { .. }), "{lost:?}");
        }
    }
}
