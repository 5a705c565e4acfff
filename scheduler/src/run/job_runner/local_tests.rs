//! Tests of jobs in this process.

use std::fmt;
use std::sync::Mutex;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, Partitioning, PlanProperties};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, stream};

use super::*;

/// What the tasks of a test do after they have begun.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Return the number of the partition.
    Answer,
    /// Fail in the last partition, and wait forever in the others.
    Fail,
    /// Panic in the last partition, and wait forever in the others.
    Panic,
    /// Wait forever.
    Wait,
}

/// A plan whose tasks are counted.
#[derive(Debug)]
struct Counting {
    then: Then,
    /// The number of tasks now, and the largest number at any time.
    tasks: Arc<Mutex<(usize, usize)>>,
    properties: Arc<PlanProperties>,
}

impl Counting {
    fn new(partitions: usize, then: Then) -> Arc<Self> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Arc::new(Self { then, tasks: Arc::default(), properties: Arc::new(properties) })
    }

    fn counts(&self) -> (usize, usize) {
        *self.tasks.lock().unwrap()
    }
}

fn batch(value: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    RecordBatch::try_from_iter([("x", column)]).unwrap()
}

fn schema() -> SchemaRef {
    batch(0).schema()
}

/// Counts a task until it is dropped.
struct Counted(Arc<Mutex<(usize, usize)>>);

impl Counted {
    fn begin(tasks: &Arc<Mutex<(usize, usize)>>) -> Self {
        let mut counts = tasks.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        drop(counts);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

impl DisplayAs for Counting {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting")
    }
}

impl ExecutionPlan for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> datafusion::error::Result<TreeNodeRecursion>,
    ) -> datafusion::error::Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let counted = Counted::begin(&self.tasks);
        let is_last = partition + 1 == self.properties.output_partitioning().partition_count();
        let then = self.then;
        let rows = stream::once(async move {
            let _counted = counted;
            tokio::task::yield_now().await;
            match then {
                Then::Answer => Ok(batch(partition as i64)),
                Then::Fail if is_last => Err(DataFusionError::Execution("x-ray 7 is bad".to_owned())),
                Then::Panic if is_last => panic!("x-ray 8 is worse"),
                _ => std::future::pending().await,
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)))
    }
}

fn runner(workers: usize) -> LocalRunner {
    LocalRunner::new(Threads::start("tusk-task", 2).unwrap(), SessionContext::new().task_ctx(), workers)
}

/// The values of a job's rows, in their order.
async fn values(rows: JobRows) -> Vec<i64> {
    let batches: Vec<Result<RecordBatch>> = rows.in_turn().collect().await;
    batches
        .iter()
        .flat_map(|batch| batch.as_ref().unwrap().column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

#[tokio::test]
async fn outputs_are_in_the_order_of_the_partitions_and_one_task_per_worker_runs_at_a_time() {
    let never = CancellationToken::new();
    for workers in [1, 3] {
        let (runner, plan) = (runner(workers), Counting::new(20, Then::Answer));
        let rows = runner.run("training", Arc::clone(&plan) as _, &never).await.unwrap().unwrap();
        assert_eq!(values(rows).await, (0..20).collect::<Vec<i64>>());
        let (now, most) = plan.counts();
        assert!(now == 0 && most <= workers, "{most} tasks ran for {workers} workers");
    }
    let (runner, plan) = (runner(1), Counting::new(5, Then::Answer));
    let rows = runner.run("training", plan, &never).await.unwrap().unwrap();
    let mut groups = Vec::new();
    for group in rows.side_by_side(3) {
        groups.push(group.len());
        for rows in group {
            assert_eq!(rows.count().await, 1);
        }
    }
    assert_eq!(groups, [3, 2]);
}

#[tokio::test]
async fn a_failed_task_ends_the_job_and_stops_the_others() {
    for (then, message) in [
        (Then::Fail, "training failed: x-ray 7 is bad"),
        (Then::Panic, "training failed: a task panicked: x-ray 8 is worse"),
    ] {
        let (runner, plan) = (runner(3), Counting::new(3, then));
        let error = match runner.run("training", Arc::clone(&plan) as _, &CancellationToken::new()).await {
            Err(error) => error,
            Ok(_) => panic!("the job succeeded"),
        };
        assert!(matches!(error, Error::Task { .. }) && error.to_string().starts_with(message), "{error}");
        assert_eq!(runner.counts(), (0, 0));
        ended(&plan).await;
    }
}

#[tokio::test]
async fn a_cancelled_job_stops_its_tasks_and_has_no_rows() {
    let (runner, plan, cancel) = (runner(2), Counting::new(4, Then::Wait), CancellationToken::new());
    let run = runner.run("training", Arc::clone(&plan) as _, &cancel);
    let cancelling = async {
        while plan.counts().0 < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(runner.counts(), (1, 0));
        cancel.cancel();
    };
    let (rows, ()) = tokio::join!(run, cancelling);
    assert!(rows.unwrap().is_none());
    assert_eq!(runner.counts(), (0, 0));
    ended(&plan).await;
}

/// Waits until no task of a plan is left.
async fn ended(plan: &Counting) {
    while plan.counts().0 > 0 {
        tokio::task::yield_now().await;
    }
}
