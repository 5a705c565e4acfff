//! Threads and stacks: those of a process, and those on which queries run.
//!
//! A long chain of operators (`1 + 1 + ...`) is a tree as deep as it is long. Much of what DataFusion does with a tree
//! grows the stack as it needs (its feature `recursive_protection`), but naming a column, evaluating an expression and
//! freeing a tree call themselves without it. A thread that overflows its stack ends the process. The parser limits the
//! depth of a tree; the stacks here are large enough for it. They are reserved addresses: only what is used takes memory.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::LazyLock;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The stack of a thread, in bytes.
pub const STACK_BYTES: usize = 128 << 20;

/// The free stack below which [`with_large_stack`] uses a new one.
const FREE_STACK_BYTES_MIN: usize = STACK_BYTES / 2;

/// Batches of a query that wait to be read.
const BATCHES_WAITING_MAX: usize = 2;

/// The variable that sets the stacks of threads which are started without a size.
const MIN_STACK: &str = "RUST_MIN_STACK";

/// The threads of queries. They end with the process.
static QUERIES: LazyLock<io::Result<Runtime>> = LazyLock::new(|| runtime("tusk-query"));

/// Starts a runtime with one thread per processor. All its threads have large stacks.
///
/// # Errors
/// Returns an error if the threads cannot be started.
pub fn runtime(name: &str) -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(processors)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// Gives large stacks to the threads that libraries start, unless the environment sets their size. `main` calls this
/// before it starts a thread.
#[expect(unsafe_code, reason = "the standard library reads the default size from the environment only")]
pub fn enlarge_default_stacks() {
    if std::env::var_os(MIN_STACK).is_none() {
        // SAFETY: no other thread of this process reads the environment yet.
        unsafe { std::env::set_var(MIN_STACK, STACK_BYTES.to_string()) }
    }
}

/// Calls a function on a large stack: that of this thread if enough of it is free, or else a new one.
pub fn with_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(FREE_STACK_BYTES_MIN, STACK_BYTES, work)
}

/// Runs a future on large stacks, whatever thread polls it.
pub async fn on_large_stack<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| with_large_stack(|| future.as_mut().poll(context))).await
}

/// Runs a future on the threads of queries, so that it does not delay the requests and signals of the process. If the
/// returned future is dropped, it ends at its next await.
///
/// # Errors
/// Returns an error if the future panicked or the threads cannot be started.
pub async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let mut task = Aborting(queries()?.spawn(future));
    (&mut task.0).await.map_err(joined)
}

/// Returns rows that are computed on the threads of queries, from the first poll on. If the returned stream is dropped,
/// the computation ends at its next await.
#[must_use]
pub fn computed(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let free = |rows| {
        drop(rows);
        std::future::ready(())
    };
    read_by(|reading| Ok(queries()?.spawn(reading)), rows, free)
}

/// Returns rows that a task of the current runtime reads, from the first poll on. If the returned stream is dropped
/// before its end, the task hands the rows to `abandoned`.
#[must_use]
pub fn read_in_task<A, F>(rows: SendableRecordBatchStream, abandoned: A) -> SendableRecordBatchStream
where
    A: FnOnce(SendableRecordBatchStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    read_by(|reading| Ok(tokio::spawn(reading)), rows, abandoned)
}

/// Returns rows that a spawned task reads, at most [`BATCHES_WAITING_MAX`] batches ahead.
fn read_by<S, A, F>(spawn: S, rows: SendableRecordBatchStream, abandoned: A) -> SendableRecordBatchStream
where
    S: FnOnce(BoxFuture<'static, ()>) -> Result<JoinHandle<()>> + Send + 'static,
    A: FnOnce(SendableRecordBatchStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let schema = rows.schema();
    let received = stream::once(async move {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let task = spawn(Box::pin(read(rows, sender, abandoned)))?;
        Ok::<_, DataFusionError>(received(receiver, task))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, received.try_flatten()))
}

/// Sends rows until their end, or until nobody waits for them.
async fn read<A, F>(mut rows: SendableRecordBatchStream, sender: mpsc::Sender<Result<RecordBatch>>, abandoned: A)
where
    A: FnOnce(SendableRecordBatchStream) -> F,
    F: Future<Output = ()>,
{
    loop {
        let batch = tokio::select! {
            biased;
            () = sender.closed() => return abandoned(rows).await,
            batch = rows.next() => batch,
        };
        let Some(batch) = batch else { return };
        if sender.send(batch).await.is_err() {
            return abandoned(rows).await;
        }
    }
}

fn received(
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    task: JoinHandle<()>,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::unfold((receiver, Some(task)), |(mut receiver, task)| async move {
        if let Some(batch) = receiver.recv().await {
            return Some((batch, (receiver, task)));
        }
        // The task has ended, with an error only if it panicked.
        let error = task?.await.err()?;
        Some((Err(joined(error)), (receiver, None)))
    })
}

fn queries() -> Result<&'static Handle> {
    let failed =
        |error: &io::Error| io::Error::new(error.kind(), format!("cannot start the threads of queries: {error}"));
    QUERIES.as_ref().map(Runtime::handle).map_err(|error| DataFusionError::IoError(failed(error)))
}

fn joined(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::ExecutionJoin(Box::new(error))
}

/// A task that is aborted when this is dropped.
struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch() -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn rows(batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(batch().schema(), batches))
    }

    /// A recursion of 20 MB or more.
    fn depth(levels: usize) -> usize {
        let frame = std::hint::black_box([levels; 128]);
        if levels == 0 { 0 } else { 1 + depth(levels - 1) + frame[0] - frame[127] }
    }

    #[tokio::test]
    async fn a_deep_recursion_fits_wherever_it_runs() {
        assert_eq!(with_large_stack(|| depth(20_000)), 20_000);
        assert_eq!(on_large_stack(async { depth(20_000) }).await, 20_000);
        assert_eq!(run(async { depth(20_000) }).await.unwrap(), 20_000);
    }

    #[tokio::test]
    async fn rows_arrive_in_order_and_a_panic_is_an_error() {
        let batches: Vec<_> = computed(rows(stream::iter((0..5).map(|_| Ok(batch()))))).try_collect().await.unwrap();
        assert_eq!(batches.len(), 5);
        let broken = rows(stream::iter([1]).map(|_| -> Result<RecordBatch> { panic!("row 7 is bad") }));
        let error = computed(broken).try_collect::<Vec<_>>().await.unwrap_err().to_string();
        assert!(error.contains("row 7 is bad"), "{error}");
        let error = run::<()>(async { panic!("no plan") }).await.unwrap_err().to_string();
        assert!(error.contains("no plan"), "{error}");
    }

    #[tokio::test]
    async fn rows_that_nobody_reads_are_handed_back() {
        let (sender, handed_back) = tokio::sync::oneshot::channel();
        let endless = rows(stream::pending());
        let mut read = read_in_task(endless, |rows| {
            drop(rows);
            drop(sender.send(()));
            std::future::ready(())
        });
        assert!(futures::poll!(read.next()).is_pending());
        drop(read);
        handed_back.await.unwrap();
    }
}
