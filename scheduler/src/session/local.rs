//! Plans of queries in this process: they run on the threads of queries, end when their rows are dropped, and each predicts
//! with the same models throughout.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::future::BoxFuture;
use tusk_core::physical::yielding;
use tusk_core::task_models::TaskModels;

use super::on_threads::OnThreadsExec;

/// DataFusion's planner for queries in this process. EXPLAIN does not show the operators that it adds, EXPLAIN ANALYZE does.
#[derive(Debug)]
pub(super) struct LocalPlanner;

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
        planned(plan, session)
    }
}

fn planned<'a>(plan: &'a LogicalPlan, session: &'a dyn Session) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
    Box::pin(async move {
        let planner = DefaultPhysicalPlanner::default();
        let plan = match session.as_any().downcast_ref::<SessionState>() {
            Some(state) => planner.create_physical_plan(plan, &of_one_query(state)).await?,
            None => planner.create_physical_plan(plan, session).await?,
        };
        Ok(Arc::new(OnThreadsExec::new(yielding(plan, None)?)) as Arc<dyn ExecutionPlan>)
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::error::DataFusionError;
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
    async fn a_query_predicts_with_one_version_of_a_model_on_the_threads_of_queries() {
        let counting = Arc::new(Counting::default());
        let predictor: Arc<dyn Predictor> = Arc::clone(&counting) as _;
        let state = SessionStateBuilder::new().with_default_features().with_query_planner(Arc::new(LocalPlanner));
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
        assert_eq!(*threads, ["tusk-query"; 2 * BATCHES]);
    }

    #[tokio::test]
    async fn explain_shows_the_plan_of_datafusion() {
        let state = SessionStateBuilder::new().with_default_features().with_query_planner(Arc::new(LocalPlanner));
        let context = SessionContext::new_with_state(state.build());
        let batches = context.sql("EXPLAIN SELECT 1 AS one").await.unwrap().collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        assert!(text.contains("PlaceholderRowExec"), "{text}");
        assert!(!text.contains("OnThreadsExec") && !text.contains("YieldExec"), "{text}");
    }
}
