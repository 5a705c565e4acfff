//! What a statement answers: rows that may still be coming.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// The rows of a statement. Those of CREATE MODEL come one by one, as epochs finish.
pub struct Results {
    stream: SendableRecordBatchStream,
    cancel: Option<CancellationToken>,
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("schema", &self.stream.schema()).finish_non_exhaustive()
    }
}

impl Results {
    /// Rows of a query.
    #[must_use]
    pub fn new(stream: SendableRecordBatchStream) -> Self {
        Self { stream, cancel: None }
    }

    /// Rows of a training run, which `cancel` ends.
    #[must_use]
    pub fn of_run(stream: SendableRecordBatchStream, cancel: CancellationToken) -> Self {
        Self { stream, cancel: Some(cancel) }
    }

    /// Rows that are there already.
    pub fn of_batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let stream = futures::stream::once(async move { Ok(batch) });
        Self::new(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// What ends the training run behind these rows, if there is one. Dropping the rows leaves the run alone.
    #[must_use]
    pub fn cancellation(&self) -> Option<CancellationToken> {
        self.cancel.clone()
    }

    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// Why the statement failed.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.stream.next().await.transpose().map_err(unwrapped)
    }

    /// All rows.
    ///
    /// # Errors
    /// Why the statement failed.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream.try_collect().await.map_err(unwrapped)
    }

    /// All rows as a table of text.
    ///
    /// # Errors
    /// Why the statement failed.
    pub async fn to_table(self) -> Result<String> {
        let schema = self.schema();
        let mut batches = self.collect().await?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(pretty_format_batches(&batches).map_err(DataFusionError::from)?.to_string())
    }
}

/// An error of a run or of ours, out of the wrapping that it went through the stream in.
fn unwrapped(error: DataFusionError) -> Error {
    let DataFusionError::External(inner) = error else { return error.into() };
    match inner.downcast::<Error>() {
        Ok(error) => *error,
        Err(inner) => match inner.downcast::<tusk_core::Error>() {
            Ok(error) => Error::Core(*error),
            Err(inner) => DataFusionError::External(inner).into(),
        },
    }
}
