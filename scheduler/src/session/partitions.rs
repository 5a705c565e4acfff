//! The rows of the partitions of a plan, which the threads of queries compute at the same time.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tusk_core::cause::Cause;
use tusk_process::threads::queries;

/// Maximum number of batches that wait to be read, of the partition that is being read.
const BATCHES_WAITING_MAX: usize = 2;

/// Maximum KiB of the batches of a query that wait to be read, of all later partitions together.
const LATER_KIB_MAX: u32 = 64 << 10;

/// Opens the rows of a partition.
pub(super) type Open = Box<dyn FnOnce() -> Result<SendableRecordBatchStream> + Send>;

/// Returns the rows of these partitions, one partition after the other. From the first poll on, all are computed at the same
/// time on the threads of queries, each as a task, until too many rows wait to be read. Dropping the stream stops the tasks
/// after their current batches.
///
/// # Errors
/// Returns an error if the threads cannot be started.
pub(super) fn in_order(schema: SchemaRef, partitions: Vec<Open>) -> Result<SendableRecordBatchStream> {
    within(LATER_KIB_MAX, schema, partitions)
}

fn within(later_kib_max: u32, schema: SchemaRef, partitions: Vec<Open>) -> Result<SendableRecordBatchStream> {
    let (turn, turns) = watch::channel(0);
    let of_this_turn = Arc::new(Semaphore::new(BATCHES_WAITING_MAX));
    let later_kib = Arc::new(Semaphore::new(later_kib_max as usize));
    let (mut tasks, mut partitions_left) = (JoinSet::new(), VecDeque::new());
    // The tasks wait for the first poll. They have the plan, which is dropped on their large stacks even if nobody reads it.
    for (partition, open) in (1..).zip(partitions) {
        let (rows, waiting) = mpsc::unbounded_channel();
        let (of_this_turn, later_kib) = (Arc::clone(&of_this_turn), Arc::clone(&later_kib));
        let task = Task { partition, rows, turns: turns.clone(), of_this_turn, later_kib, later_kib_max };
        tasks.spawn_on(task.run(open), queries()?);
        partitions_left.push_back(waiting);
    }
    let reader = Reader { partitions_left, turn, _tasks: tasks };
    let rows = stream::unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Some((batch, reader))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

/// A batch or the error after the last one, and its place among those that wait to be read.
type Waiting = (Result<RecordBatch>, Option<OwnedSemaphorePermit>);

/// Reads the partitions in turn.
struct Reader {
    partitions_left: VecDeque<mpsc::UnboundedReceiver<Waiting>>,
    /// The partition that is being read, from 1. 0 before the first poll.
    turn: watch::Sender<usize>,
    /// Aborts the tasks when it is dropped.
    _tasks: JoinSet<()>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.turn.send_if_modified(|turn| {
            let is_first = *turn == 0;
            *turn = (*turn).max(1);
            is_first
        });
        loop {
            if let Some((batch, _place)) = self.partitions_left.front_mut()?.recv().await {
                return Some(batch);
            }
            self.partitions_left.pop_front();
            self.turn.send_modify(|turn| *turn += 1);
        }
    }
}

/// Computes the rows of a partition. Their channel has no limit of its own: a batch is sent when it has a place.
struct Task {
    partition: usize,
    rows: mpsc::UnboundedSender<Waiting>,
    turns: watch::Receiver<usize>,
    of_this_turn: Arc<Semaphore>,
    later_kib: Arc<Semaphore>,
    later_kib_max: u32,
}

impl Task {
    async fn run(mut self, open: Open) {
        let is_abandoned = self.turns.wait_for(|turn| *turn > 0).await.is_err();
        if is_abandoned {
            return;
        }
        let computing = async {
            let mut rows = open()?;
            while let Some(batch) = rows.next().await.transpose()? {
                let place = self.place(batch.get_array_memory_size()).await;
                if self.rows.send((Ok(batch), place)).is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        };
        let computed = AssertUnwindSafe(computing).catch_unwind().await;
        let error: DataFusionError = match computed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panic) => Cause::of_panic(panic.as_ref()).into(),
        };
        // If it cannot be sent, the reader is dropped and does not need it.
        drop(self.rows.send((Err(error), None)));
    }

    /// Waits until a batch of this size may wait to be read.
    async fn place(&mut self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // A batch above the maximum waits alone.
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.later_kib_max);
        let (partition, turns) = (self.partition, &mut self.turns);
        tokio::select! {
            biased;
            () = async { drop(turns.wait_for(|turn| *turn >= partition).await) } => {
                Arc::clone(&self.of_this_turn).acquire_owned().await.ok()
            }
            place = Arc::clone(&self.later_kib).acquire_many_owned(kib) => place.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::current;

    use datafusion::arrow::array::{ArrayRef, StringArray};
    use futures::{Stream, TryStreamExt};
    use tokio::sync::Barrier;
    use tokio::task::yield_now;

    use super::*;

    fn batch(text: &str) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        RecordBatch::try_from_iter([("text", column)]).unwrap()
    }

    fn rows(of: impl Iterator<Item = Result<RecordBatch>> + Send + 'static) -> SendableRecordBatchStream {
        adapted(stream::iter(of))
    }

    fn adapted(rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(batch("").schema(), rows))
    }

    fn one(open: impl FnOnce() -> SendableRecordBatchStream + Send + 'static) -> SendableRecordBatchStream {
        read(vec![Box::new(move || Ok(open()))])
    }

    fn read(partitions: Vec<Open>) -> SendableRecordBatchStream {
        in_order(batch("").schema(), partitions).unwrap()
    }

    #[tokio::test]
    async fn rows_are_computed_on_the_threads_of_queries() {
        let open = || rows([Ok(batch(current().name().unwrap_or_default())), Ok(batch("b"))].into_iter());
        let batches: Vec<RecordBatch> = one(open).try_collect().await.unwrap();
        assert_eq!(batches, [batch("tusk-query"), batch("b")]);
    }

    #[tokio::test]
    async fn partitions_are_computed_at_the_same_time_and_read_in_their_order() {
        // Each begins only when the others have begun, and the last ends first.
        let begun = Arc::new(Barrier::new(3));
        let partition = |number: u64| -> Open {
            let begun = Arc::clone(&begun);
            Box::new(move || {
                let rows = stream::once(async move {
                    begun.wait().await;
                    for _ in 0..3 - number {
                        yield_now().await;
                    }
                    number
                });
                let row_of = |number: u64, row: i32| -> Result<_> { Ok(batch(&format!("{number} {row}"))) };
                let of_number = move |number: u64| stream::iter(0..5).map(move |row| row_of(number, row));
                Ok(adapted(rows.flat_map(of_number)))
            })
        };
        let batches: Vec<RecordBatch> = read((0..3).map(partition).collect()).try_collect().await.unwrap();
        let wanted: Vec<RecordBatch> =
            (0..3).flat_map(|number| (0..5).map(move |row| batch(&format!("{number} {row}")))).collect();
        assert_eq!(batches, wanted);
        assert!(read(Vec::new()).next().await.is_none());
    }

    #[tokio::test]
    async fn a_later_partition_with_too_many_rows_waits_for_its_turn() {
        let large = "x".repeat(3 << 10);
        let (sender, mut receiver) = mpsc::unbounded_channel::<()>();
        let first: Open = Box::new(move || {
            Ok(adapted(stream::once(async move {
                // Waits until the other partition has sent a row.
                assert_eq!(receiver.recv().await, Some(()));
                Ok(batch("first"))
            })))
        });
        let second: Open = Box::new(move || {
            let second = (0..10).map(move |row| -> Result<RecordBatch> {
                if row == 1 {
                    sender.send(()).map_err(external)?;
                }
                Ok(batch(&large))
            });
            Ok(rows(second))
        });
        let read = within(8, batch("").schema(), vec![first, second]).unwrap();
        let batches: Vec<RecordBatch> = read.try_collect().await.unwrap();
        assert_eq!((batches.len(), &batches[0]), (11, &batch("first")));
    }

    #[tokio::test]
    async fn an_error_and_a_panic_end_the_rows() {
        let failing = || rows([Ok(batch("a")), Err(DataFusionError::Execution("x-ray 7 is bad".into()))].into_iter());
        let mut stream = one(failing);
        assert_eq!(stream.next().await.unwrap().unwrap(), batch("a"));
        assert_eq!(Cause::of(&stream.next().await.unwrap().unwrap_err()).message, "x-ray 7 is bad");
        assert!(stream.next().await.is_none());
        let mut stream = one(|| rows([1].into_iter().map(|_| -> Result<_> { panic!("x-ray 8 is worse") })));
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(Cause::of(&error).message, "a task panicked: x-ray 8 is worse");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn rows_that_are_dropped_are_no_longer_computed() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let endless =
            move || rows(std::iter::repeat_with(move || sender.send(()).map(|()| batch("a")).map_err(external)));
        let mut stream = one(endless);
        stream.next().await.unwrap().unwrap();
        drop(stream);
        // Ends when the sender is dropped, with the computation.
        tokio::task::spawn_blocking(move || while receiver.recv().is_ok() {}).await.unwrap();
    }

    #[tokio::test]
    async fn rows_that_nobody_reads_are_not_computed() {
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let unread = one(move || {
            begins.store(true, Ordering::Relaxed);
            rows([Ok(batch("a"))].into_iter())
        });
        drop(unread);
        while Arc::strong_count(&begun) > 1 {
            yield_now().await;
        }
        assert!(!begun.load(Ordering::Relaxed));
    }

    fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}
