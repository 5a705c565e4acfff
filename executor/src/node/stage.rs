//! Ballista's execution of a stage, whose errors are coded while they are still errors.
//!
//! Ballista sends a task's error to the scheduler as Debug text. Between the plan and that text lies the execution engine,
//! which executors may replace: this one hands everything on to another, and turns what fails into a [`Cause`] in a form
//! that survives the quoting. What Ballista has to recognise to run a task again (rows that could not be fetched, an error
//! of input or output) stays what it is.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use futures::FutureExt;
use tusk_core::cause::Cause;

use crate::node::connections::Connections;

/// Runs stages by another engine and codes their errors.
pub(crate) struct CodingEngine(Arc<dyn ExecutionEngine>);

impl CodingEngine {
    /// Codes the errors of an engine.
    pub(crate) fn over(engine: Arc<dyn ExecutionEngine>) -> Self {
        Self(engine)
    }

    /// Codes the errors of Ballista's engine, whose connections are kept for `idle_seconds`; none are where it is 0.
    pub(crate) fn pooled(idle_seconds: u64) -> Self {
        Self(Arc::new(match idle_seconds {
            0 => DefaultExecutionEngine::new(),
            seconds => {
                DefaultExecutionEngine::with_client_pool(Arc::new(Connections::new(Duration::from_secs(seconds))))
            }
        }))
    }
}

impl ExecutionEngine for CodingEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let ids = global_output_partition_ids;
        let stage = self.0.create_query_stage_exec(job_id, stage_id, task_id, ids, plan, work_dir, config);
        Ok(Arc::new(CodingStage(stage.map_err(coded)?)))
    }
}

/// A stage whose errors are coded.
#[derive(Debug)]
struct CodingStage(Arc<dyn QueryStageExecutor>);

impl fmt::Display for CodingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for CodingStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let running = AssertUnwindSafe(self.0.execute_query_stage(task_id, context)).catch_unwind();
        running.await.unwrap_or_else(|panic| Err(Cause::panicked(panic_text(panic.as_ref())).into())).map_err(coded)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports().map_err(coded)
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason is given")
}

/// The error as it is to leave the executor.
fn coded(error: DataFusionError) -> DataFusionError {
    if is_ballistas(&error) {
        return error;
    }
    let cause = Cause::of(&error);
    match error.find_root() {
        // Ballista tries such a task again.
        DataFusionError::IoError(source) => {
            DataFusionError::IoError(std::io::Error::new(source.kind(), cause.to_wire()))
        }
        _ => cause.into(),
    }
}

/// Whether Ballista acts on the error itself: rows that could not be fetched, a task that was stopped, an error of input
/// or output in an error of Ballista's, which has no source.
fn is_ballistas(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<BallistaError>() {
        Some(BallistaError::FetchFailed(..) | BallistaError::Cancelled | BallistaError::IoError(_)) => true,
        Some(BallistaError::DataFusionError(inner)) => {
            matches!(inner.find_root(), DataFusionError::IoError(_)) || is_ballistas(&**inner)
        }
        _ => error.source().is_some_and(is_ballistas),
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
