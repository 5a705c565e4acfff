//! The query planner of jobs: DataFusion's planner, but with unions that can be split into tasks.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::future::BoxFuture;
use tusk_core::physical::TaskUnionExec;

/// Plans queries so that Ballista can split them into tasks.
#[derive(Debug)]
pub(crate) struct JobPlanner;

impl QueryPlanner for JobPlanner {
    // What `async_trait` would generate, except that the block is in another function. See `opaque` for the reason: a
    // plan is as large a type as a session.
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
    Box::pin(
        async move { unions_by_task(DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await?) },
    )
}

/// Replaces every union in the plan by a [`TaskUnionExec`], except unions of scans with several partitions: Ballista
/// splits these correctly.
fn unions_by_task(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let by_task = plan.transform_up(|node| {
        if !node.is::<UnionExec>() || node.children().into_iter().all(is_sliced_scan) {
            return Ok(Transformed::no(node));
        }
        let union = TaskUnionExec::try_new(node.children().into_iter().cloned().collect())?;
        Ok(Transformed::yes(Arc::new(union) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(by_task.data)
}

/// Returns whether a plan reads a table with several partitions and processes each row on its own.
fn is_sliced_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.children()[..] {
        [] => plan.is::<DataSourceExec>() && plan.output_partitioning().partition_count() > 1,
        [child] => (plan.is::<ProjectionExec>() || plan.is::<FilterExec>()) && is_sliced_scan(child),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tusk_core::codec::{TuskPhysicalCodec, decode_plan, encode_plan};

    use super::*;

    fn context(planner: Option<Arc<JobPlanner>>) -> SessionContext {
        let state = SessionStateBuilder::new().with_default_features();
        let state = state.with_config(SessionConfig::new().with_target_partitions(1));
        let state = match planner {
            Some(planner) => state.with_query_planner(planner).build(),
            None => state.build(),
        };
        let context = SessionContext::new_with_state(state);
        for (name, values) in [("a", [vec![3_i64, 1, 2], vec![5, 4]]), ("b", [vec![7, 6], vec![9, 8]])] {
            let batch = |values| {
                let column: ArrayRef = Arc::new(Int64Array::from(values));
                RecordBatch::try_from_iter([("x", column)]).unwrap()
            };
            let partitions: Vec<Vec<RecordBatch>> = values.into_iter().map(|values| vec![batch(values)]).collect();
            let table = MemTable::try_new(partitions[0][0].schema(), partitions).unwrap();
            context.register_table(name, Arc::new(table)).unwrap();
        }
        context
    }

    fn sorted(batches: &[RecordBatch]) -> Vec<String> {
        let mut lines: Vec<String> =
            pretty_format_batches(batches).unwrap().to_string().lines().map(Into::into).collect();
        lines.sort();
        lines.dedup_by(|one, other| one.starts_with('+') && one == other);
        lines
    }

    /// Splits a plan into tasks of one partition each, and encodes and decodes each task as for an executor. Returns
    /// the number of tasks and their rows.
    async fn by_task(context: &SessionContext, sql: &str) -> (usize, Vec<String>) {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let (mut rows, partitions) = (Vec::new(), plan.output_partitioning().partition_count());
        for partition in 0..partitions {
            let task = restrict_plan_to_partitions(Arc::clone(&plan), &[partition]).unwrap();
            let codec = TuskPhysicalCodec::default();
            let task = decode_plan(&encode_plan(task, &codec).unwrap(), &context.task_ctx(), &codec).unwrap();
            rows.extend(collect(task, context.task_ctx()).await.unwrap());
        }
        (partitions, sorted(&rows))
    }

    #[tokio::test]
    async fn every_branch_of_a_union_is_returned_once() {
        let unions = [
            (
                "SELECT x FROM (SELECT x FROM a ORDER BY x LIMIT 1) UNION ALL SELECT x FROM (SELECT x FROM b ORDER BY x LIMIT 2)",
                2,
            ),
            ("SELECT count(*) AS n FROM a UNION ALL SELECT sum(x) FROM b UNION ALL SELECT max(x) FROM a", 3),
            ("SELECT x % 2 AS k, count(*) AS n FROM a GROUP BY x % 2 UNION ALL SELECT x, 1 FROM b LIMIT 100", 1),
            ("SELECT x FROM a UNION ALL SELECT 1 UNION ALL SELECT x FROM (VALUES (2), (3)) AS v(x)", 3),
            ("SELECT a.x FROM (SELECT x FROM a ORDER BY x LIMIT 1) a CROSS JOIN b UNION ALL SELECT min(x) FROM a", 2),
            ("SELECT x + 1 AS x FROM a WHERE x > 1 UNION ALL SELECT x FROM b", 4),
            (
                "SELECT count(*) AS n FROM (SELECT min(x) AS x FROM a UNION ALL SELECT max(x) FROM a UNION ALL SELECT 4)",
                1,
            ),
        ];
        let (ours, datafusions) = (context(Some(Arc::new(JobPlanner))), context(None));
        for (sql, tasks) in unions {
            let wanted = sorted(&datafusions.sql(sql).await.unwrap().collect().await.unwrap());
            assert_eq!(by_task(&ours, sql).await, (tasks, wanted), "{sql}");
        }
    }

    #[tokio::test]
    async fn only_a_union_of_scans_with_several_partitions_is_not_replaced() {
        let context = context(Some(Arc::new(JobPlanner)));
        let plan = async |sql: &str| context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        assert!(plan("SELECT x FROM a UNION ALL SELECT x FROM b WHERE x > 1").await.is::<UnionExec>());
        assert!(plan("SELECT x FROM a UNION ALL SELECT max(x) FROM b").await.is::<TaskUnionExec>());
    }
}
