//! Tests of how Ballista handles the errors of tasks.

use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::serde::protobuf::FailedTask;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Volatility, create_udf};
use datafusion::physical_plan::ColumnarValue;
use datafusion::prelude::SessionContext;
use tusk_core::cause::CauseKind;

use super::*;

/// Returns the message to the scheduler about a query that fails on an executor.
async fn failed(sql: &str) -> FailedTask {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["7", "seven"]));
    context.register_batch("t", RecordBatch::try_from_iter([("x", text)]).unwrap()).unwrap();
    let boom = |_: &[ColumnarValue]| -> Result<ColumnarValue> { panic!("index 7 out of bounds") };
    context.register_udf(create_udf("boom", vec![], DataType::Int64, Volatility::Volatile, Arc::new(boom)));
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let stage = ShuffleWriterExec::try_new(JobId::new("job"), 1, plan, folder.to_owned()).unwrap();
    let engine = EncodingEngine::pooled(30);
    let config = SessionConfig::new();
    let stage = engine.create_query_stage_exec(JobId::new("job"), 1, 1, vec![0], Arc::new(stage), folder, &config);
    let error = stage.unwrap().execute_query_stage(1, context.task_ctx()).await.unwrap_err();
    FailedTask::from(BallistaError::from(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_of_a_task_error_reaches_the_scheduler_unchanged() {
    for (sql, kind, message) in [
        (
            "SELECT CAST(x AS BIGINT) FROM t",
            CauseKind::Invalid,
            "Cast error: Cannot cast string 'seven' to value of Int64 type",
        ),
        ("SELECT 1 / (character_length(x) - 1) FROM t", CauseKind::Invalid, "Divide by zero error"),
        ("SELECT boom() FROM t", CauseKind::Internal, "a task panicked: index 7 out of bounds"),
    ] {
        let task = failed(sql).await;
        let cause = Cause::of_text(&task.error);
        assert_eq!((cause.kind, cause.message.as_str()), (kind, message), "{}", task.error);
        assert!(task.error.contains("tusk-error["), "{}", task.error);
        assert!(!task.retryable && matches!(task.failed_reason, Some(FailedReason::ExecutionError(_))), "{sql}");
    }
}

#[test]
fn errors_that_ballista_retries_keep_their_types() {
    let io = || DataFusionError::IoError(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset"));
    for error in [io(), io().context("reading"), DataFusionError::Shared(Arc::new(io()))] {
        let task = FailedTask::from(BallistaError::from(encoded(error)));
        assert!(task.retryable && matches!(task.failed_reason, Some(FailedReason::IoError(_))), "{}", task.error);
        assert!(Cause::of_text(&task.error).message.ends_with("IO error: reset"), "{}", task.error);
    }
    let fetch = || BallistaError::FetchFailed("e1".into(), 1, 2, "gone".into()).into_datafusion();
    let wrapped = DataFusionError::Shared(Arc::new(fetch()));
    let in_arrow = DataFusionError::from(ArrowError::ExternalError(Box::new(fetch())));
    for error in [fetch(), wrapped, in_arrow] {
        let task = FailedTask::from(BallistaError::from(encoded(error)));
        assert!(matches!(task.failed_reason, Some(FailedReason::FetchPartitionError(_))), "{}", task.error);
    }
}
