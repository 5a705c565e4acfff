//! The result rows of a statement, as a stream.

use std::marker::PhantomData;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::ids::ModelName;

/// The rows of a statement. Errors are converted to `E`. Rows of CREATE MODEL arrive when epochs finish.
pub struct Results<E> {
    stream: SendableRecordBatchStream,
    run: Option<RunBehind>,
    error: PhantomData<fn() -> E>,
}

/// The training run whose epochs the rows are.
#[derive(Clone, Debug)]
pub struct RunBehind {
    /// The model that is trained.
    pub model: ModelName,
    /// Cancels the run.
    pub cancel: CancellationToken,
}

impl<E> std::fmt::Debug for Results<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("schema", &self.stream.schema()).field("run", &self.run).finish_non_exhaustive()
    }
}

impl<E: From<DataFusionError>> Results<E> {
    /// Rows of a query.
    #[must_use]
    pub fn new(stream: SendableRecordBatchStream) -> Self {
        Self { stream, run: None, error: PhantomData }
    }

    /// Rows of a training run.
    #[must_use]
    pub fn of_run(stream: SendableRecordBatchStream, run: RunBehind) -> Self {
        Self { stream, run: Some(run), error: PhantomData }
    }

    /// Rows that are already complete.
    #[must_use]
    pub fn of_batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let stream = futures::stream::once(async move { Ok(batch) });
        Self::new(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    /// Converts the error type.
    #[must_use]
    pub fn failing_with<F>(self) -> Results<F> {
        Results { stream: self.stream, run: self.run, error: PhantomData }
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// Returns the model that is trained, if these are the rows of a run.
    #[must_use]
    pub fn model(&self) -> Option<&ModelName> {
        self.run.as_ref().map(|run| &run.model)
    }

    /// Returns a handle that cancels the run, if these are the rows of a run. Dropping the rows does not cancel it.
    #[must_use]
    pub fn cancellation(&self) -> Option<CancellationToken> {
        self.run.as_ref().map(|run| run.cancel.clone())
    }

    /// Returns the next rows, or `None` after the last.
    ///
    /// # Errors
    /// Returns the error of the statement.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, E> {
        self.stream.next().await.transpose().map_err(E::from)
    }

    /// All rows.
    ///
    /// # Errors
    /// Returns the error of the statement.
    pub async fn collect(self) -> Result<Vec<RecordBatch>, E> {
        self.stream.try_collect().await.map_err(E::from)
    }

    /// All rows as a table of text.
    ///
    /// # Errors
    /// Returns the error of the statement.
    pub async fn to_table(self) -> Result<String, E> {
        let schema = self.schema();
        let mut batches = self.collect().await?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        let table = pretty_format_batches(&batches).map_err(DataFusionError::from)?;
        Ok(table.to_string())
    }
}
