//! UNION ALL whose tasks run a branch each.
//!
//! A distributed scheduler slices a stage by partition. Ballista 55.0 does it by cutting the scans below, which leaves a branch
//! that gathers its rows (ORDER BY, LIMIT, an aggregate without groups) with its one partition: under DataFusion's own
//! union every task ran it again (datafusion-ballista issue 2184). Its rows came as often as the stage had tasks, and a task
//! with a partition more than it was given wrote two branches into one file at a time. So the branches' numbers are data
//! here, as the workers' numbers are in [`TrainExec`](super::TrainExec): the last child is an in-memory table with one row
//! (a branch's number) per partition, and slicing it hands each task its branches.

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

/// The rows of its branches, one partition per branch.
#[derive(Clone, Debug)]
pub struct TaskUnionExec {
    /// The branches, each of one partition, and the table of their numbers.
    children: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl TaskUnionExec {
    /// The union of branches whose columns agree.
    ///
    /// # Errors
    /// When they do not, or when there are none.
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

    /// The union of these children, as it arrives over the wire: the branches, and the table of their numbers.
    ///
    /// # Errors
    /// When they are not that.
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

    /// A branch is read whole, however few of the numbers are left.
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
    async fn a_partition_is_a_branch_and_a_slice_of_the_numbers_is_its_branches() {
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
    async fn children_that_are_no_union_are_refused() {
        assert!(TaskUnionExec::of_children(Vec::new()).is_err());
        assert!(TaskUnionExec::of_children(vec![table(&[&[1]])]).is_err());
        // Numbers of another type, and of branches that are not there.
        let strange = Arc::new(TaskUnionExec::of_children(vec![table(&[&[1]]), table(&[&[0]])]).unwrap());
        assert!(collect(strange, SessionContext::new().task_ctx()).await.is_err());
        let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![7]));
        let numbers = RecordBatch::try_from_iter([("branch", numbers)]).unwrap();
        let numbers = MemorySourceConfig::try_new_exec(&[vec![numbers.clone()]], numbers.schema(), None).unwrap();
        let far = Arc::new(TaskUnionExec::of_children(vec![table(&[&[1]]), numbers]).unwrap());
        assert!(collect(far, SessionContext::new().task_ctx()).await.is_err());
    }
}
