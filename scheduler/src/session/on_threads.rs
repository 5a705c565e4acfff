//! The root of all plans of a session: it moves their work to the threads of queries, whatever starts the query.
//!
//! The threads of a program, of Ballista's servers and of the command line stay free for other requests, for heartbeats and for
//! Ctrl-C. Without an ORDER BY, the rows of a table have the same order in every query, so that metrics with resampled
//! intervals are reproducible.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};

use super::partitions::{Open, in_order};

/// Runs each partition of a plan as a task on the threads of queries, and returns their rows in the order of the partitions.
#[derive(Debug)]
pub(super) struct OnThreadsExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl OnThreadsExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = match input.output_partitioning().partition_count() {
            1 => Arc::clone(input.properties()),
            _ => Arc::new(PlanProperties::new(
                EquivalenceProperties::new(input.schema()),
                Partitioning::UnknownPartitioning(1),
                input.pipeline_behavior(),
                input.boundedness(),
            )),
        };
        Self { input, properties }
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

    fn schema(&self) -> SchemaRef {
        self.input.schema()
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
        Ok(Arc::new(Self::new(Arc::clone(input))))
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
        in_order(self.schema(), partitions.map(open).collect())
    }
}
