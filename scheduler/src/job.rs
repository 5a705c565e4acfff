//! One Ballista job from a physical plan: submitted, awaited, its rows streamed partition after partition.

use std::sync::Arc;

use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::get_job_status_result::FlightProxy;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CreateUpdateSessionParams, ExecuteQueryParams, PartitionLocation, job_status::Status,
};
use ballista_core::utils::create_grpc_client_endpoint;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tusk_core::codec::encode_plan;
use tusk_core::error::first_cause;

use crate::error::{Error, Result};

/// Retries of a fetch of a job's rows, and the wait between them.
const FETCH_RETRIES: u8 = 3;
const FETCH_RETRY_WAIT_MS: u64 = 500;

/// Submits jobs to a scheduler.
#[derive(Clone, Debug)]
pub(crate) struct JobRunner {
    url: String,
    client: SchedulerGrpcClient<Channel>,
    session_id: String,
    codec: Arc<dyn PhysicalExtensionCodec>,
    message_bytes_max: usize,
}

impl JobRunner {
    /// Connects to the scheduler at `url` and opens a session there.
    pub(crate) async fn connect(
        url: &str,
        codec: Arc<dyn PhysicalExtensionCodec>,
        message_bytes_max: usize,
    ) -> Result<Self> {
        let failed = |reason: String| Error::Scheduler { url: url.to_owned(), reason };
        let http = url.replacen("df://", "http://", 1);
        let endpoint = create_grpc_client_endpoint(http, None).map_err(|e| failed(e.to_string()))?;
        let channel = endpoint.connect().await.map_err(|e| failed(e.to_string()))?;
        let mut client = SchedulerGrpcClient::new(channel)
            .max_encoding_message_size(message_bytes_max)
            .max_decoding_message_size(message_bytes_max);
        let session_id = uuid::Uuid::new_v4().to_string();
        let session = CreateUpdateSessionParams { session_id: session_id.clone(), settings: Vec::new() };
        client.create_update_session(session).await.map_err(|e| failed(e.message().to_owned()))?;
        Ok(Self { url: url.to_owned(), client, session_id, codec, message_bytes_max })
    }

    /// How plans are written.
    pub(crate) fn codec(&self) -> &dyn PhysicalExtensionCodec {
        self.codec.as_ref()
    }

    /// Runs a plan; the stream gives its rows, partition after partition. `phase` names it in errors. When `cancel`
    /// fires, the job's tasks are stopped and [`Error::Cancelled`]'s place is taken by `None`.
    pub(crate) async fn run(
        &self,
        phase: &str,
        plan: Arc<dyn ExecutionPlan>,
        cancel: &CancellationToken,
    ) -> Result<Option<impl Stream<Item = Result<RecordBatch>>>> {
        let failed = |reason: String| Error::Job { phase: phase.to_owned(), reason };
        let mut request = tonic::Request::new(ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(encode_plan(plan, self.codec.as_ref())?)),
            settings: Vec::new(),
            session_id: self.session_id.clone(),
            operation_id: uuid::Uuid::new_v4().to_string(),
        });
        ballista_core::version::insert_version_header(request.metadata_mut());
        let mut client = self.client.clone();
        let statuses = client.execute_query_push(request).await.map_err(|e| failed(e.message().to_owned()))?;
        let mut statuses = statuses.into_inner();
        let mut job_id = String::new();
        let (locations, proxy) = loop {
            let update = tokio::select! {
                update = statuses.next() => update,
                () = cancel.cancelled() => {
                    if let Err(error) = client.cancel_job(CancelJobParams { job_id: job_id.clone() }).await {
                        tracing::warn!(%job_id, %error, "the job could not be cancelled");
                    }
                    return Ok(None);
                }
            };
            let update = update
                .ok_or_else(|| failed("the scheduler went away".to_owned()))?
                .map_err(|e| failed(e.message().to_owned()))?;
            let Some(status) = update.status else { continue };
            job_id = status.job_id;
            match status.status {
                Some(Status::Successful(done)) => {
                    // They stand in the order in which their tasks ended.
                    let mut locations = done.partition_location;
                    locations.sort_by_key(|location| location.partition_id.as_ref().map(|p| p.partition_id));
                    break (locations, update.flight_proxy);
                }
                Some(Status::Failed(job)) => return Err(failed(first_cause(&job.error))),
                Some(Status::Queued(_) | Status::Running(_)) | None => {}
            }
        };
        let runner = self.clone();
        let phase = phase.to_owned();
        let rows = futures::stream::iter(locations)
            .then(move |location| {
                let (runner, proxy, phase) = (runner.clone(), proxy.clone(), phase.clone());
                async move { runner.fetch(&phase, location, proxy).await }
            })
            .try_flatten();
        Ok(Some(rows))
    }

    /// The rows of one partition, from the executor that wrote them or through the scheduler.
    async fn fetch(
        &self,
        phase: &str,
        location: PartitionLocation,
        proxy: Option<FlightProxy>,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let phase = phase.to_owned();
        let failed = move |reason: String| Error::Job { phase: phase.clone(), reason };
        let layout = location.layout();
        let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
            return Err(failed("the scheduler did not say where the rows are".to_owned()));
        };
        let executor_port = u16::try_from(executor.port).unwrap_or(0);
        let address = match proxy {
            Some(FlightProxy::External(address)) => format!("http://{address}"),
            Some(FlightProxy::Local(true)) => self.url.clone(),
            Some(FlightProxy::Local(false)) | None => format!("http://{}:{executor_port}", executor.host),
        };
        let url = url::Url::parse(&address).map_err(|e| failed(format!("{address}: {e}")))?;
        let (host, port) = (url.host_str().unwrap_or("localhost").to_owned(), url.port().unwrap_or(0));
        let retry = (FETCH_RETRIES, FETCH_RETRY_WAIT_MS);
        let client =
            BallistaClient::try_new(&host, port, self.message_bytes_max, false, None, retry.0, retry.1, 0, 0).await;
        let mut client = client.map_err(|e| failed(e.to_string()))?;
        let rows = client
            .fetch_partition_proxied(
                &executor.id,
                &partition.into(),
                location.file_id,
                layout,
                &executor.host,
                executor_port,
                true,
            )
            .await;
        let rows = rows.map_err(|e| failed(e.to_string()))?;
        Ok(rows.map_err(move |e| failed(e.to_string())))
    }
}
