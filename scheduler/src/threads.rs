//! The threads of this process that run queries and training tasks, if there is no cluster.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{FutureExt, StreamExt, stream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tusk_core::cause::Cause;

use crate::error::Result;

/// Maximum number of batches of a query that wait to be read.
const BATCHES_WAITING_MAX: usize = 2;

/// Threads for queries or training tasks, apart from those of the program. A batch of predictions keeps a thread busy for up
/// to seconds, in which the program's own threads must be able to notice Ctrl-C.
///
/// Cheap to clone. The threads end when all clones, and the rows that they compute, are dropped.
#[derive(Clone, Debug)]
pub struct TaskThreads(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime must not be dropped where it would block other tasks.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl TaskThreads {
    /// Starts this many threads, at least one.
    ///
    /// # Errors
    /// Returns an error if the system cannot start them.
    pub fn start(count: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count.max(1))
            .thread_name("tusk-task")
            .enable_all()
            .build()
            .map_err(DataFusionError::IoError)?;
        let handle = runtime.handle().clone();
        Ok(Self(Arc::new(Threads { runtime: Some(runtime), handle })))
    }

    /// Spawns tasks on these threads.
    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Returns the rows of the stream that `open` returns. They are computed on these threads, also while they are not read.
    /// Dropping the returned stream stops the computation after its current batch.
    pub(crate) fn stream(
        &self,
        schema: SchemaRef,
        open: impl FnOnce() -> DataFusionResult<SendableRecordBatchStream> + Send + 'static,
    ) -> SendableRecordBatchStream {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        // Aborts the task when it is dropped with the stream.
        let mut task = JoinSet::new();
        task.spawn_on(send(open, sender), self.handle());
        let rows = stream::unfold((receiver, task, self.clone()), |mut state| async move {
            let batch = state.0.recv().await?;
            Some((batch, state))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// Sends the rows of the stream that `open` returns, and the error with which it ends.
async fn send(
    open: impl FnOnce() -> DataFusionResult<SendableRecordBatchStream>,
    sender: mpsc::Sender<DataFusionResult<RecordBatch>>,
) {
    let sent = async {
        let mut rows = open()?;
        while let Some(batch) = rows.next().await {
            if sender.send(Ok(batch?)).await.is_err() {
                break;
            }
        }
        Ok::<(), DataFusionError>(())
    };
    let error: DataFusionError = match AssertUnwindSafe(sent).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => Cause::of_panic(panic.as_ref()).into(),
    };
    // If it cannot be sent, the receiver is dropped and does not need it.
    drop(sender.send(Err(error)).await);
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use datafusion::arrow::array::{ArrayRef, StringArray};
    use futures::TryStreamExt;

    use super::*;

    fn batch(text: &str) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        RecordBatch::try_from_iter([("text", column)]).unwrap()
    }

    fn rows(of: impl Iterator<Item = DataFusionResult<RecordBatch>> + Send + 'static) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(batch("").schema(), stream::iter(of)))
    }

    #[tokio::test]
    async fn rows_are_computed_on_the_threads_and_survive_their_owner() {
        let threads = TaskThreads::start(1).unwrap();
        let open = || Ok(rows([Ok(batch(current().name().unwrap_or_default())), Ok(batch("b"))].into_iter()));
        let stream = threads.stream(batch("").schema(), open);
        drop(threads);
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert_eq!(batches, [batch("tusk-task"), batch("b")]);
    }

    #[tokio::test]
    async fn an_error_and_a_panic_end_the_rows() {
        let threads = TaskThreads::start(1).unwrap();
        let failing =
            || Ok(rows([Ok(batch("a")), Err(DataFusionError::Execution("x-ray 7 is bad".into()))].into_iter()));
        let mut stream = threads.stream(batch("").schema(), failing);
        assert_eq!(stream.next().await.unwrap().unwrap(), batch("a"));
        assert_eq!(Cause::of(&stream.next().await.unwrap().unwrap_err()).message, "x-ray 7 is bad");
        assert!(stream.next().await.is_none());
        let panicking = || Ok(rows([1].into_iter().map(|_| -> DataFusionResult<_> { panic!("x-ray 8 is worse") })));
        let mut stream = threads.stream(batch("").schema(), panicking);
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(Cause::of(&error).message, "a task panicked: x-ray 8 is worse");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn rows_that_are_dropped_are_no_longer_computed() {
        let threads = TaskThreads::start(1).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let endless =
            move || Ok(rows(std::iter::repeat_with(move || sender.send(()).map(|()| batch("a")).map_err(external))));
        let mut stream = threads.stream(batch("").schema(), endless);
        stream.next().await.unwrap().unwrap();
        drop(stream);
        // Ends when the sender is dropped, with the computation.
        tokio::task::spawn_blocking(move || while receiver.recv().is_ok() {}).await.unwrap();
    }

    fn external(error: std::sync::mpsc::SendError<()>) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}
