//! Queries in this process: they run on the threads for tasks, and each predicts with the same models throughout.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::future::BoxFuture;
use tusk_core::physical::yielding;
use tusk_core::task_models::TaskModels;

use crate::threads::{Open, TaskThreads};

/// DataFusion's planner for a session without a cluster.
#[derive(Debug)]
pub(super) struct LocalPlanner {
    threads: TaskThreads,
}

impl LocalPlanner {
    pub(super) fn new(threads: TaskThreads) -> Self {
        Self { threads }
    }
}

impl QueryPlanner for LocalPlanner {
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
        planned(self.threads.clone(), plan, session)
    }
}

fn planned<'a>(
    threads: TaskThreads,
    plan: &'a LogicalPlan,
    session: &'a dyn Session,
) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
    Box::pin(async move {
        let planner = DefaultPhysicalPlanner::default();
        let plan = match session.as_any().downcast_ref::<SessionState>() {
            Some(state) => planner.create_physical_plan(plan, &of_one_query(state)).await?,
            None => planner.create_physical_plan(plan, session).await?,
        };
        Ok(Arc::new(OnThreadsExec::new(yielding(plan, None)?, threads)) as Arc<dyn ExecutionPlan>)
    })
}

/// Returns the session of one query. Its functions keep the models of the query, as those of a launch on an executor do.
fn of_one_query(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    state.config_mut().options_mut().extensions.insert(TaskModels::default());
    let options = Arc::clone(state.config_options());
    state.execution_props_mut().config_options = Some(options);
    state
}

/// Runs each partition of a plan as a task on the threads for tasks, and returns their rows in the order of the partitions.
/// It is the root of every plan of such a session. Without an ORDER BY, the rows of a table therefore have the same order in
/// every query, and metrics with resampled intervals are reproducible.
#[derive(Debug)]
struct OnThreadsExec {
    input: Arc<dyn ExecutionPlan>,
    threads: TaskThreads,
    properties: Arc<PlanProperties>,
}

impl OnThreadsExec {
    fn new(input: Arc<dyn ExecutionPlan>, threads: TaskThreads) -> Self {
        let properties = match input.output_partitioning().partition_count() {
            1 => Arc::clone(input.properties()),
            _ => Arc::new(PlanProperties::new(
                EquivalenceProperties::new(input.schema()),
                Partitioning::UnknownPartitioning(1),
                input.pipeline_behavior(),
                input.boundedness(),
            )),
        };
        Self { input, threads, properties }
    }
}

impl DisplayAs for OnThreadsExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnThreadsExec")
    }
}

impl ExecutionPlan for OnThreadsExec {
    fn name(&self) -> &'static str {
        "OnThreadsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
            return Err(DataFusionError::Internal(format!("OnThreadsExec has one child, not {}", children.len())));
        };
        Ok(Arc::new(Self::new(Arc::clone(input), self.threads.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("OnThreadsExec has one partition, there is no {partition}")));
        }
        let open = |partition| -> Open {
            let (input, context) = (Arc::clone(&self.input), Arc::clone(&context));
            Box::new(move || input.execute(partition, context))
        };
        let partitions = 0..self.input.output_partitioning().partition_count();
        Ok(self.threads.stream(self.schema(), partitions.map(open).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tusk_core::engine::{Changes, Explanations, Predictions, Predictor};
    use tusk_core::ids::ModelName;
    use tusk_udfs::predict::functions;

    use super::*;

    /// The number of batches of the table.
    const BATCHES: usize = 3;

    /// Has one class, whose name is the number of times that the model was read.
    #[derive(Debug, Default)]
    struct Counting {
        read: Mutex<u32>,
        threads: Mutex<Vec<String>>,
    }

    impl Predictor for Counting {
        fn predict(&self, model: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Predictions> {
            let read = || {
                *self.read.lock().unwrap() += 1;
                Ok::<_, DataFusionError>(Arc::new(*self.read.lock().unwrap()))
            };
            let version = tasks.unwrap().get_or_read(model, read)?;
            self.threads.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
            Ok(Predictions {
                classes: [version.to_string()].into(),
                decision: None,
                calibration: None,
                probabilities: vec![1.0; images.len()],
                valid: vec![true; images.len()],
            })
        }

        fn explain(&self, _: &ModelName, _: &dyn Array, _: Option<&TaskModels>) -> Result<Explanations> {
            Ok(Explanations::default())
        }

        fn augment(&self, _: &dyn Array, _: &Changes) -> Result<Vec<Option<Vec<u8>>>> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn a_query_predicts_with_one_version_of_a_model_on_the_threads_for_tasks() {
        let counting = Arc::new(Counting::default());
        let predictor: Arc<dyn Predictor> = Arc::clone(&counting) as _;
        let planner = LocalPlanner::new(TaskThreads::start(1).unwrap());
        let state = SessionStateBuilder::new().with_default_features().with_query_planner(Arc::new(planner));
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_state(state.with_config(config).build());
        functions(&predictor).iter().for_each(|f| context.register_udf(f.as_ref().clone()));
        let image: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"x".as_slice()]));
        let batch = RecordBatch::try_from_iter([("image", image)]).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch; BATCHES]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        let frame = context.sql("SELECT DISTINCT predict('m', image) AS version FROM t").await.unwrap();
        for version in ["1", "2"] {
            // The frame is the same, and the query is another.
            let batches = frame.clone().collect().await.unwrap();
            let found: Vec<&str> =
                batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>()).flatten().collect();
            assert_eq!(found, [version]);
        }
        let threads = counting.threads.lock().unwrap();
        assert_eq!(*threads, ["tusk-task"; 2 * BATCHES]);
    }

    #[tokio::test]
    async fn explain_shows_the_plan_of_datafusion() {
        let planner = LocalPlanner::new(TaskThreads::start(1).unwrap());
        let state = SessionStateBuilder::new().with_default_features().with_query_planner(Arc::new(planner));
        let context = SessionContext::new_with_state(state.build());
        let batches = context.sql("EXPLAIN SELECT 1 AS one").await.unwrap().collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        assert!(text.contains("PlaceholderRowExec") && !text.contains("OnThreadsExec"), "{text}");
    }
}
