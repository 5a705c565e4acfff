//! The Ballista jobs of queries. A job whose rows nobody reads any more is cancelled: Ballista itself would finish it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::LogicalPlanNode;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tusk_process::threads::queries;

use super::on_threads::OnThreadsExec;

/// The longest wait until a job is planned. Ballista cannot cancel it earlier.
const PLANNING_MAX: Duration = Duration::from_secs(60);

/// How often to check whether a job is planned.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The longest time to send a cancellation.
const CANCEL_MAX: Duration = Duration::from_secs(10);

/// Ballista's operator that submits a query and fetches its rows.
type Query = DistributedQueryExec<LogicalPlanNode>;

/// Returns a session on the same catalog whose jobs are cancelled when their rows are dropped.
pub(super) fn cancelling(session: &SessionContext, scheduler_url: &str) -> SessionContext {
    let state = session.state();
    let address = scheduler_url.split_once("://").map_or(scheduler_url, |(_, address)| address);
    let planner =
        CancellingPlanner { inner: Arc::clone(state.query_planner()), url: format!("http://{address}").into() };
    let state = SessionStateBuilder::new_from_existing(state).with_query_planner(Arc::new(planner)).build();
    SessionContext::new_with_state(state)
}

/// Ballista's planner. Its plans run on the threads of queries, and a [`CancellingExec`] cancels their jobs.
#[derive(Debug)]
struct CancellingPlanner {
    inner: Arc<dyn QueryPlanner + Send + Sync>,
    url: Arc<str>,
}

impl QueryPlanner for CancellingPlanner {
    // What `async_trait` would generate, except that the block is in another function: see `opaque`.
    fn create_physical_plan<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        plan: &'life1 LogicalPlan,
        session: &'life2 dyn Session,
    ) -> BoxFuture<'async_trait, Result<Arc<dyn ExecutionPlan>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        planned(self, plan, session)
    }
}

fn planned<'a>(
    planner: &'a CancellingPlanner,
    plan: &'a LogicalPlan,
    session: &'a dyn Session,
) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
    Box::pin(async move {
        let inner = planner.inner.create_physical_plan(plan, session).await?;
        // A query of the catalog has no job.
        let has_job = query_of(&inner).is_some();
        let plan: Arc<dyn ExecutionPlan> = match has_job {
            true => Arc::new(CancellingExec { inner, url: Arc::clone(&planner.url) }),
            false => inner,
        };
        Ok(Arc::new(OnThreadsExec::new(plan)) as Arc<dyn ExecutionPlan>)
    })
}

/// Returns the query of a plan. EXPLAIN ANALYZE has it as its child.
fn query_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&Query> {
    plan.downcast_ref::<Query>().or_else(|| query_of(plan.children().into_iter().next()?))
}

/// Passes on the rows of a job. If they are dropped before their end, the job is cancelled.
#[derive(Debug)]
struct CancellingExec {
    inner: Arc<dyn ExecutionPlan>,
    url: Arc<str>,
}

impl DisplayAs for CancellingExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }
}

impl ExecutionPlan for CancellingExec {
    fn name(&self) -> &'static str {
        "CancellingExec"
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    /// The job is one operator to those who change plans.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let config = context.session_config().clone();
        let rows = Some(self.inner.execute(partition, context)?);
        let (plan, url) = (Arc::clone(&self.inner), Arc::clone(&self.url));
        Ok(Box::pin(CancellingRows { rows, is_submitted: false, plan, url, config }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }
}

/// The rows of a job, which is cancelled when they are dropped before their end.
struct CancellingRows {
    /// `None` after their end.
    rows: Option<SendableRecordBatchStream>,
    /// Whether they were polled: Ballista's operator submits the job then.
    is_submitted: bool,
    plan: Arc<dyn ExecutionPlan>,
    url: Arc<str>,
    config: SessionConfig,
}

impl Stream for CancellingRows {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(rows) = &mut this.rows else { return Poll::Ready(None) };
        this.is_submitted = true;
        let polled = rows.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.rows = None;
        }
        polled
    }
}

impl RecordBatchStream for CancellingRows {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }
}

impl Drop for CancellingRows {
    fn drop(&mut self) {
        let is_submitted = self.is_submitted;
        let Some(rows) = self.rows.take().filter(|_| is_submitted) else { return };
        let cancelling = cancel(Arc::clone(&self.plan), Arc::clone(&self.url), self.config.clone(), rows);
        match queries() {
            Ok(threads) => drop(threads.spawn(cancelling)),
            Err(error) => tracing::warn!(%error, "cannot cancel a job whose rows nobody reads"),
        }
    }
}

/// Cancels the job of a query.
fn cancel(
    plan: Arc<dyn ExecutionPlan>,
    url: Arc<str>,
    config: SessionConfig,
    mut rows: SendableRecordBatchStream,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let Some(job) = job_of(&plan, &mut rows).await else { return };
        drop(rows);
        let cancelled = timeout(CANCEL_MAX, request(&url, &config, &job)).await;
        match cancelled.unwrap_or_else(|_| Err(format!("no answer in {} s", CANCEL_MAX.as_secs()))) {
            Ok(()) => tracing::info!(%job, "cancelled a job whose rows nobody reads"),
            Err(error) => tracing::warn!(%job, %url, error, "cannot cancel a job whose rows nobody reads"),
        }
    })
}

/// Returns the id of the job, which is known when it is planned. `None` if it has ended before.
async fn job_of(plan: &Arc<dyn ExecutionPlan>, rows: &mut SendableRecordBatchStream) -> Option<JobId> {
    let (query, deadline) = (query_of(plan)?, Instant::now() + PLANNING_MAX);
    while Instant::now() < deadline {
        if let Some(job) = query.job_id() {
            return Some(job);
        }
        // Ballista's operator learns the id while its rows are polled.
        tokio::select! {
            batch = rows.next() => match batch {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            },
            () = sleep(LOOK_EVERY) => {}
        }
    }
    None
}

/// Asks the scheduler to cancel a job. Returns the reason if it does not.
async fn request(url: &str, config: &SessionConfig, job: &JobId) -> Result<(), String> {
    let settings = GrpcClientConfig::from(&config.ballista_config());
    let mut endpoint = create_grpc_client_endpoint(url.to_owned(), Some(&settings)).map_err(|e| e.to_string())?;
    if let Some(customize) = config.ballista_override_create_grpc_client_endpoint() {
        endpoint = customize.configure_endpoint(endpoint).map_err(|e| e.to_string())?;
    }
    let channel = endpoint.connect().await.map_err(|e| e.to_string())?;
    let interceptor = config.ballista_grpc_interceptor().as_ref().clone();
    let mut scheduler = SchedulerGrpcClient::with_interceptor(channel, interceptor);
    let params = CancelJobParams { job_id: job.as_str().to_owned() };
    scheduler.cancel_job(params).await.map(drop).map_err(|status| status.message().to_owned())
}
