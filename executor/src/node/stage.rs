//! Converts the errors of tasks to [`Cause`]s before Ballista converts them to text.
//!
//! Ballista sends a task's error to the scheduler as Debug text. The execution engine in this module wraps another
//! engine and encodes each error as a [`Cause`] in a form that survives the quoting. Errors that Ballista must
//! recognise to retry a task, such as failed fetches of rows and I/O errors, keep their types.

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

/// Runs stages with another engine and encodes their errors.
pub(crate) struct EncodingEngine(Arc<dyn ExecutionEngine>);

impl EncodingEngine {
    /// Wraps an engine.
    pub(crate) fn over(engine: Arc<dyn ExecutionEngine>) -> Self {
        Self(engine)
    }

    /// Wraps Ballista's engine. Idle connections to other executors are kept for `idle_seconds`; 0 means that they are
    /// not kept.
    pub(crate) fn pooled(idle_seconds: u64) -> Self {
        Self(Arc::new(match idle_seconds {
            0 => DefaultExecutionEngine::new(),
            seconds => {
                DefaultExecutionEngine::with_client_pool(Arc::new(Connections::new(Duration::from_secs(seconds))))
            }
        }))
    }
}

impl ExecutionEngine for EncodingEngine {
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
        Ok(Arc::new(EncodingStage(stage.map_err(encoded)?)))
    }
}

/// A stage whose errors are encoded.
#[derive(Debug)]
struct EncodingStage(Arc<dyn QueryStageExecutor>);

impl fmt::Display for EncodingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for EncodingStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let running = AssertUnwindSafe(self.0.execute_query_stage(task_id, context)).catch_unwind();
        running.await.unwrap_or_else(|panic| Err(Cause::panicked(panic_text(panic.as_ref())).into())).map_err(encoded)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports().map_err(encoded)
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason is given")
}

/// Encodes an error, unless Ballista must recognise it.
fn encoded(error: DataFusionError) -> DataFusionError {
    if is_for_ballista(&error) {
        return error;
    }
    let cause = Cause::of(&error);
    match error.find_root() {
        // Ballista retries tasks with I/O errors, so the type stays and the text is encoded.
        DataFusionError::IoError(source) => {
            DataFusionError::IoError(std::io::Error::new(source.kind(), cause.to_wire()))
        }
        _ => cause.into(),
    }
}

/// Whether Ballista must recognise the error: a failed fetch of rows, a cancelled task, or an I/O error inside a
/// Ballista error, which has no `source`.
fn is_for_ballista(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<BallistaError>() {
        Some(BallistaError::FetchFailed(..) | BallistaError::Cancelled | BallistaError::IoError(_)) => true,
        Some(BallistaError::DataFusionError(inner)) => {
            matches!(inner.find_root(), DataFusionError::IoError(_)) || is_for_ballista(&**inner)
        }
        _ => error.source().is_some_and(is_for_ballista),
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
