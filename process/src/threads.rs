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

use datafusion::error::{DataFusionError, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The stack of a thread, in bytes.
const STACK_BYTES: usize = 128 << 20;

/// The free stack below which [`with_large_stack`] uses a new one.
const FREE_STACK_BYTES_MIN: usize = STACK_BYTES / 2;

/// The variable that sets the stacks of threads which are started without a size.
const MIN_STACK: &str = "RUST_MIN_STACK";

/// The threads of queries. They end with the process.
static QUERIES: LazyLock<io::Result<Threads>> = LazyLock::new(|| Threads::start("tusk-query", processors()));

/// Threads with large stacks, and a runtime of tokio on them. When this is dropped, their tasks are dropped after the current
/// steps, and nothing waits for that.
#[derive(Debug)]
pub struct Threads {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    /// Starts this many threads, at least one.
    ///
    /// # Errors
    /// Returns an error if the threads cannot be started.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let runtime = build(name, count)?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    /// Spawns tasks on these threads.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime must not be dropped where it would block other tasks.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a runtime with one thread per processor, for `main`. All its threads have large stacks.
///
/// # Errors
/// Returns an error if the threads cannot be started.
pub fn runtime(name: &str) -> io::Result<Runtime> {
    build(name, processors())
}

fn build(name: &str, count: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(count.max(1))
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
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
    (&mut task.0).await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))
}

/// Spawns tasks on the threads of queries.
///
/// # Errors
/// Returns an error if the threads cannot be started.
pub fn queries() -> Result<&'static Handle> {
    let failed =
        |error: &io::Error| io::Error::new(error.kind(), format!("cannot start the threads of queries: {error}"));
    QUERIES.as_ref().map(Threads::handle).map_err(|error| DataFusionError::IoError(failed(error)))
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
    use super::*;

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
        let threads = Threads::start("tusk-test", 0).unwrap();
        let of_workers = threads.handle().spawn(async { depth(20_000) });
        let of_blocking = threads.handle().spawn_blocking(|| depth(20_000));
        assert_eq!((of_workers.await.unwrap(), of_blocking.await.unwrap()), (20_000, 20_000));
    }

    #[tokio::test]
    async fn a_future_runs_on_the_threads_of_queries_and_ends_when_it_is_dropped() {
        let name = run(async { std::thread::current().name().map(str::to_owned) }).await.unwrap();
        assert_eq!(name.as_deref(), Some("tusk-query"));
        let error = run::<()>(async { panic!("no plan") }).await.unwrap_err().to_string();
        assert!(error.contains("no plan"), "{error}");
        let (sender, ended) = tokio::sync::oneshot::channel::<()>();
        let endless = run(async move {
            let _sender = sender;
            std::future::pending::<()>().await
        });
        tokio::select! {
            biased;
            result = endless => panic!("{result:?}"),
            () = tokio::task::yield_now() => {}
        }
        assert!(ended.await.is_err());
    }
}
