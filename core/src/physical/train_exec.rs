//! The operator of a training job: one output partition per worker.
//!
//! A distributed scheduler slices a stage by partition: it cuts scans and in-memory tables down to the partitions of a
//! task, and an operator never learns which those are. So the workers' numbers are data: the child is an in-memory
//! table with one row (a worker's number) per partition, and slicing it hands each task its workers.
//!
//! The rows to learn from are *not* a child. Every worker reads the whole `source` and keeps the rows whose content
//! hashes to it, so each sees every class however the table is sorted, no epoch shuffles images over the network, and
//! an executor that holds the worker's decoded shard never opens the table at all.

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

use super::answer::answer_schema;
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
    /// The operator for all workers of a task.
    ///
    /// `source` must give the columns `image`, `label` (text), `group` (text, may be NULL) and `name` (text, may be
    /// NULL), in this order.
    ///
    /// # Errors
    /// When the in-memory table of workers cannot be made.
    pub fn try_new(task: Arc<TrainTask>, source: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let partitions = task.workers;
        Self::in_partitions(task, source, partitions)
    }

    /// The operator for all workers of a task in at most this many partitions. The workers of one partition run side by
    /// side in one task, so that workers that exchange all run at once even where there are fewer slots than workers.
    ///
    /// # Errors
    /// When the in-memory table of workers cannot be made.
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

    /// The operator over a given table of workers, as it arrives over the wire.
    #[must_use]
    pub fn with_workers(task: Arc<TrainTask>, source: Arc<dyn ExecutionPlan>, workers: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(answer_schema()),
            Partitioning::UnknownPartitioning(workers.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { task, source, workers, properties }
    }

    /// What the workers are asked to do.
    #[must_use]
    pub fn task(&self) -> &Arc<TrainTask> {
        &self.task
    }

    /// Where the rows come from.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ExecutionPlan> {
        &self.source
    }

    /// The plan as text, with the source that `EXPLAIN` would not show as a child.
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
        Ok(Box::pin(RecordBatchStreamAdapter::new(answer_schema(), answers)))
    }
}
