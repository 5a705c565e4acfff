//! A UNION ALL operator whose tasks run one branch each.
//!
//! Ballista 55.0 restricts only the scans of a stage to the partitions of a task. A branch that merges its rows into
//! one partition (ORDER BY, LIMIT, an aggregate without groups) is not restricted, so with the union of DataFusion
//! every task ran the branch again and its rows were repeated (datafusion-ballista issue 2184). Here the branch numbers
//! are data, like the worker numbers in [`TrainExec`](super::TrainExec): the last child is an in-memory table with one
//! row (a branch number) per partition, and each task reads the numbers of its branches.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements, Partitioning,
    PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt};

/// The union of branches, with one partition per branch.
#[derive(Clone, Debug)]
pub struct TaskUnionExec {
    /// The branches, each with one partition, and the table of their numbers.
    children: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl TaskUnionExec {
    /// Makes the union of branches with the same columns.
    ///
    /// # Errors
    /// Returns an error if the columns differ or there are no branches.
    pub fn try_new(branches: Vec<Arc<dyn ExecutionPlan>>) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Field::new("branch", DataType::UInt32, false)]));
        let numbers = (0_u32..)
            .take(branches.len())
            .map(|branch| {
                let column = Arc::new(UInt32Array::from(vec![branch]));
                Ok(vec![RecordBatch::try_new(Arc::clone(&schema), vec![column])?])
            })
            .collect::<Result<Vec<_>>>()?;
        let gathered = branches.into_iter().map(|branch| match branch.output_partitioning().partition_count() {
            1 => branch,
            _ => Arc::new(CoalescePartitionsExec::new(branch)),
        });
        let numbers: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&numbers, schema, None)?;
        Self::of_children(gathered.chain([numbers]).collect())
    }

    /// Makes the union from decoded children: the branches and the table of their numbers.
    ///
    /// # Errors
    /// Returns an error if the last child is not such a table.
    pub fn of_children(children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Self> {
        let Some((numbers, branches @ [_, ..])) = children.split_last() else {
            return Err(internal(format!("a union has branches and their numbers, not {} children", children.len())));
        };
        let schema = UnionExec::try_new(branches.to_vec())?.schema();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(numbers.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self { children, properties })
    }
}

impl DisplayAs for TaskUnionExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskUnionExec")
    }
}

impl ExecutionPlan for TaskUnionExec {
    fn name(&self) -> &'static str {
        "TaskUnionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.children.iter().collect()
    }

    /// A branch is always read completely.
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let mut wanted = vec![Distribution::SinglePartition; self.children.len()];
        if let Some(numbers) = wanted.last_mut() {
            *numbers = Distribution::UnspecifiedDistribution;
        }
        InputDistributionRequirements::new(wanted)
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children.len()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::of_children(children)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some((numbers, branches)) = self.children.split_last() else {
            return Err(internal("a union without children".to_owned()));
        };
        let numbers = numbers.execute(partition, Arc::clone(&context))?;
        let (branches, schema) = (branches.to_vec(), self.schema());
        let rows = numbers
            .map(move |batch| {
                let batch = batch?;
                let numbers = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt32Type>());
                let numbers = numbers
                    .ok_or_else(|| internal("the last child of a union is not a table of numbers".to_owned()))?;
                let run = |number: &u32| match branches.get(*number as usize) {
                    Some(branch) => branch.execute(0, Arc::clone(&context)),
                    None => Err(internal(format!("a union has no branch {number}"))),
                };
                let streams = numbers.values().iter().map(run).collect::<Result<Vec<_>>>()?;
                Ok::<_, DataFusionError>(futures::stream::iter(streams).flatten())
            })
            .try_flatten();
        let of_union = Arc::clone(&schema);
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&of_union), batch.columns().to_vec(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

fn internal(reason: String) -> DataFusionError {
    DataFusionError::Internal(reason)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn table(partitions: &[&[i64]]) -> Arc<dyn ExecutionPlan> {
        let batch = |values: &&[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
            vec![RecordBatch::try_from_iter([("x", column)]).unwrap()]
        };
        let partitions: Vec<Vec<RecordBatch>> = partitions.iter().map(batch).collect();
        MemorySourceConfig::try_new_exec(&partitions, partitions[0][0].schema(), None).unwrap()
    }

    async fn rows(plan: Arc<dyn ExecutionPlan>) -> Vec<i64> {
        let batches = collect(plan, SessionContext::new().task_ctx()).await.unwrap();
        let values = |batch: &RecordBatch| {
            batch.column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().values().to_vec()
        };
        let mut rows: Vec<i64> = batches.iter().flat_map(values).collect();
        rows.sort_unstable();
        rows
    }

    #[tokio::test]
    async fn a_task_with_some_of_the_numbers_runs_only_their_branches() {
        let union = TaskUnionExec::try_new(vec![table(&[&[1, 2]]), table(&[&[3], &[4]]), table(&[&[5]])]).unwrap();
        let union: Arc<dyn ExecutionPlan> = Arc::new(union);
        assert_eq!(union.output_partitioning().partition_count(), 3);
        assert_eq!(rows(Arc::clone(&union)).await, [1, 2, 3, 4, 5]);
        let wanted: [&[i64]; 3] = [&[1, 2], &[3, 4], &[5]];
        for (branch, wanted) in (0_u32..).zip(wanted) {
            let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![branch]));
            let numbers = RecordBatch::try_from_iter([("branch", numbers)]).unwrap();
            let numbers = MemorySourceConfig::try_new_exec(&[vec![numbers.clone()]], numbers.schema(), None).unwrap();
            let mut children: Vec<Arc<dyn ExecutionPlan>> = union.children().into_iter().cloned().collect();
            children[3] = numbers;
            assert_eq!(rows(Arc::new(TaskUnionExec::of_children(children).unwrap())).await, wanted);
        }
    }

    #[tokio::test]
    async fn invalid_children_of_a_union_are_refused() {
        assert!(TaskUnionExec::of_children(Vec::new()).is_err());
        assert!(TaskUnionExec::of_children(vec![table(&[&[1]])]).is_err());
        // Numbers of another type, and of missing branches.
        let strange = Arc::new(TaskUnionExec::of_children(vec![table(&[&[1]]), table(&[&[0]])]).unwrap());
        assert!(collect(strange, SessionContext::new().task_ctx()).await.is_err());
        let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![7]));
        let numbers = RecordBatch::try_from_iter([("branch", numbers)]).unwrap();
        let numbers = MemorySourceConfig::try_new_exec(&[vec![numbers.clone()]], numbers.schema(), None).unwrap();
        let far = Arc::new(TaskUnionExec::of_children(vec![table(&[&[1]]), numbers]).unwrap());
        assert!(collect(far, SessionContext::new().task_ctx()).await.is_err());
    }
}
