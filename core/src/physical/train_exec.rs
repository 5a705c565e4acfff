//! The operator of a training job: one output partition per worker.
//!
//! Ballista restricts the scans and in-memory tables of a stage to the partitions of a task, and does not tell other
//! operators which partitions those are. The worker numbers are therefore data: the child is an in-memory table with
//! one row (a worker number) per partition, and each task reads the numbers of its workers.
//!
//! The source of the rows is *not* a child. Every worker reads the whole `source` and keeps the rows whose content hash
//! belongs to it. Each worker sees every class even if the table is sorted, no images are shuffled over the network,
//! and an executor that has the decoded shard of a worker does not read the table again.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
    SendableRecordBatchStream, displayable,
};
use futures::{StreamExt, TryStreamExt};

use super::task_output::output_schema;
use crate::engine::engine_of;
use crate::ids::WorkerId;
use crate::job::TrainTask;

/// Runs a job, one partition per worker.
#[derive(Clone, Debug)]
pub struct TrainExec {
    task: Arc<TrainTask>,
    source: Arc<dyn ExecutionPlan>,
    workers: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl TrainExec {
    /// Makes the operator for all workers of a task.
    ///
    /// `source` must have the columns `image`, `label` (text), `group` (text, may be NULL) and `name` (text, may be
    /// NULL), in this order.
    ///
    /// # Errors
    /// Returns an error if the in-memory table of workers cannot be made.
    pub fn try_new(task: Arc<TrainTask>, source: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let partitions = task.workers;
        Self::in_partitions(task, source, partitions)
    }

    /// Makes the operator with at most this many partitions. The workers of one partition run concurrently in one task,
    /// so all workers of an exchange run at the same time even if there are fewer slots than workers.
    ///
    /// # Errors
    /// Returns an error if the in-memory table of workers cannot be made.
    pub fn in_partitions(task: Arc<TrainTask>, source: Arc<dyn ExecutionPlan>, partitions: u32) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Field::new("worker", DataType::UInt32, false)]));
        let partitions = partitions.clamp(1, task.workers.max(1));
        let partitions = (0..partitions)
            .map(|partition| {
                let workers: Vec<u32> = (partition..task.workers).step_by(partitions as usize).collect();
                let column = Arc::new(UInt32Array::from(workers));
                Ok(vec![RecordBatch::try_new(Arc::clone(&schema), vec![column])?])
            })
            .collect::<Result<Vec<_>>>()?;
        let workers = MemorySourceConfig::try_new_exec(&partitions, schema, None)?;
        Ok(Self::with_workers(task, source, workers))
    }

    /// Makes the operator from a decoded table of workers.
    #[must_use]
    pub fn with_workers(task: Arc<TrainTask>, source: Arc<dyn ExecutionPlan>, workers: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(output_schema()),
            Partitioning::UnknownPartitioning(workers.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { task, source, workers, properties }
    }

    /// The task of the workers.
    #[must_use]
    pub fn task(&self) -> &Arc<TrainTask> {
        &self.task
    }

    /// The source of the rows.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ExecutionPlan> {
        &self.source
    }

    /// Formats the plan with the source, which `EXPLAIN` does not show because it is not a child.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = displayable(self).indent(false).to_string();
        text.push_str("  rows read on a shard cache miss:\n");
        for line in displayable(self.source.as_ref()).indent(false).to_string().lines() {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl DisplayAs for TrainExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrainTask { job, workers, definition, .. } = self.task.as_ref();
        write!(
            f,
            "TrainExec: job={job}, architecture={}, image={}x{}x{}, workers={workers}",
            definition.spec.architecture,
            definition.preprocessing.channels,
            definition.preprocessing.image_size,
            definition.preprocessing.image_size,
        )
    }
}

impl ExecutionPlan for TrainExec {
    fn name(&self) -> &'static str {
        "TrainExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.workers]
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
        let [workers] = children.as_slice() else {
            return Err(DataFusionError::Internal(format!("TrainExec has one child, not {}", children.len())));
        };
        let (task, source) = (Arc::clone(&self.task), Arc::clone(&self.source));
        Ok(Arc::new(Self::with_workers(task, source, Arc::clone(workers))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let engine = engine_of(&context)?;
        let workers = self.workers.execute(partition, Arc::clone(&context))?;
        let (task, source) = (Arc::clone(&self.task), Arc::clone(&self.source));
        let answers = workers
            .map(move |batch| {
                let batch = batch?;
                let numbers = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt32Type>());
                let numbers = numbers.ok_or_else(|| {
                    DataFusionError::Execution("the input of TrainExec is not a table of workers".to_owned())
                })?;
                let streams = numbers
                    .values()
                    .iter()
                    .map(|worker| {
                        let (task, source) = (Arc::clone(&task), Arc::clone(&source));
                        engine.run(task, WorkerId(*worker), source, Arc::clone(&context))
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok::<_, DataFusionError>(futures::stream::iter(streams).flatten())
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(output_schema(), answers)))
    }
}
