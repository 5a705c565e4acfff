//! An operator that gives its thread back in time, and ends when its task is cancelled.
//!
//! A task of an async runtime lets others run only where it waits. DataFusion's scans wait after 128 batches. This is not
//! enough: a join makes millions of batches of a few, and an expression above a scan may take a second per batch. Such a
//! query cannot be cancelled, and delays everything else on its thread. [`yielding`] puts this operator above each scan
//! and each operator that makes many rows of few.
//!
//! Ballista 55.0 reads the rows of a task in tasks of its own, which continue when it cancels the first one. They end
//! with an error of this operator.
//!
//! DataFusion's window functions over all rows keep their input without a reservation in the memory pool. This operator
//! makes it for them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ballista_core::execution_plans::RuntimeStatsExec;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::TrainExec;

/// How long rows are computed before the thread is given back. A batch is always finished.
const SLICE: Duration = Duration::from_millis(5);

/// How many times a window function keeps its input: as batches, and joined to one.
const WINDOW_COPIES: usize = 2;

/// Passes rows on.
#[derive(Clone, Debug)]
pub struct YieldExec {
    input: Arc<dyn ExecutionPlan>,
    cancel: Option<CancellationToken>,
    /// Whether the operator above keeps all rows, and makes no reservation for them.
    is_kept: bool,
}

/// Adds [`YieldExec`] to a plan. When `cancel` fires, its rows end with an error.
///
/// # Errors
/// Returns an error if an operator refuses its new children.
pub fn yielding(plan: Arc<dyn ExecutionPlan>, cancel: Option<&CancellationToken>) -> Result<Arc<dyn ExecutionPlan>> {
    let over = |input: &Arc<dyn ExecutionPlan>, is_kept| -> Arc<dyn ExecutionPlan> {
        Arc::new(YieldExec { input: Arc::clone(input), cancel: cancel.cloned(), is_kept })
    };
    let plan = plan.transform_up(|node| {
        // Ballista looks for these statistics below a window, and not below operators that it does not know.
        if node.is::<WindowAggExec>() && !node.exists(|below| Ok(below.is::<RuntimeStatsExec>()))? {
            let inputs = node.children().into_iter().map(|input| over(input, true)).collect();
            return Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?));
        }
        let has_one_input = node.children().len() == 1;
        if has_one_input && !node.is::<UnnestExec>() && !node.is::<TrainExec>() {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(over(&node, false)))
    })?;
    Ok(plan.data)
}

impl DisplayAs for YieldExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "YieldExec")
    }
}

impl ExecutionPlan for YieldExec {
    fn name(&self) -> &'static str {
        "YieldExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return Err(DataFusionError::Internal(format!("YieldExec has one child, not {}", children.len())));
        };
        Ok(Arc::new(Self { input: Arc::clone(input), ..self.as_ref().clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let kept = self.is_kept.then(|| MemoryConsumer::new("WindowAggExec").register(context.memory_pool()));
        let cancelled = self.cancel.clone().map(|cancel| Box::pin(cancel.cancelled_owned()));
        let rows = self.input.execute(partition, context)?;
        Ok(Box::pin(Yielding { rows, began: None, cancelled, kept }))
    }
}

struct Yielding {
    rows: SendableRecordBatchStream,
    /// When the thread was taken.
    began: Option<Instant>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    kept: Option<MemoryReservation>,
}

impl Stream for Yielding {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(cancelled) = &mut this.cancelled
            && cancelled.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(DataFusionError::Execution("the task was cancelled".to_owned()))));
        }
        if this.began.get_or_insert_with(Instant::now).elapsed() >= SLICE {
            this.began = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = this.rows.poll_next_unpin(context);
        match (&polled, &this.kept) {
            (Poll::Pending, _) => this.began = None,
            (Poll::Ready(Some(Ok(batch))), Some(kept)) => {
                if let Err(error) = kept.try_grow(WINDOW_COPIES * bytes_of(batch)) {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            (Poll::Ready(_), _) => {}
        }
        polled
    }
}

impl RecordBatchStream for Yielding {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// Returns the bytes of the rows of a batch. Its buffers may be larger, and shared with other batches.
fn bytes_of(batch: &RecordBatch) -> usize {
    let of_column = |column: &Arc<dyn Array>| {
        let fixed = column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
        fixed
            + match column.data_type() {
                DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
                DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
                _ => 0,
            }
    };
    batch.columns().iter().map(of_column).sum()
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tokio::time::timeout;

    use super::*;

    /// A query that takes hours, over few batches of scans.
    const ENDLESS: &str = "SELECT sum(a.value % (b.value + 1)) AS n \
                           FROM range(1, 100000) AS a CROSS JOIN range(1, 1000000000) AS b";

    /// A session whose queries have this many bytes.
    fn session(bytes: usize) -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        SessionContext::new_with_config_rt(SessionConfig::new(), runtime.build_arc().unwrap())
    }

    async fn plan(session: &SessionContext, sql: &str, cancel: Option<&CancellationToken>) -> Arc<dyn ExecutionPlan> {
        yielding(session.sql(sql).await.unwrap().create_physical_plan().await.unwrap(), cancel).unwrap()
    }

    /// The only thread of this test runs the query, and the clock that ends it.
    #[tokio::test]
    async fn a_query_of_few_batches_that_takes_hours_can_be_ended() {
        let session = session(usize::MAX);
        let endless = plan(&session, ENDLESS, None).await;
        assert!(timeout(Duration::from_millis(200), collect(endless, session.task_ctx())).await.is_err());
    }

    #[tokio::test]
    async fn the_tasks_of_a_cancelled_query_end_with_an_error() {
        let session = session(usize::MAX);
        let cancel = CancellationToken::new();
        let endless = plan(&session, ENDLESS, Some(&cancel)).await;
        let running = tokio::spawn(collect(endless, session.task_ctx()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("the task was cancelled"), "{error}");
    }

    #[tokio::test]
    async fn a_window_over_all_rows_reserves_memory_for_them() {
        let sql = "SELECT max(n) AS n FROM (SELECT sum(value) OVER () AS n FROM range(0, 200000))";
        let rows = |bytes| async move {
            let session = session(bytes);
            collect(plan(&session, sql, None).await, session.task_ctx()).await
        };
        let n = rows(64 << 20).await.unwrap();
        assert_eq!(n[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), 19_999_900_000);
        let error = rows(1 << 20).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    }

    #[tokio::test]
    async fn it_is_above_scans_and_joins_and_below_windows() {
        let session = session(usize::MAX);
        let sql =
            "SELECT a.value, sum(b.value) OVER () FROM range(1, 9) AS a JOIN range(1, 9) AS b ON a.value = b.value";
        let plan = plan(&session, sql, None).await;
        let text = displayable(plan.as_ref()).indent(true).to_string();
        let below = |operator: &str| {
            let places = text.match_indices(operator).map(|(place, _)| &text[place..]);
            places.map(|text| text.lines().nth(1).unwrap_or_default().trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(below("WindowAggExec"), ["YieldExec"], "{text}");
        assert!(below("YieldExec").iter().any(|operator| operator.starts_with("HashJoinExec")), "{text}");
        assert!(text.matches("YieldExec").count() >= 4, "{text}");
    }
}
