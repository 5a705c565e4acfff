//! The output of a task in this process, until the run reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::spill::spill_pool::spsc_channel;
use futures::{StreamExt, stream};

use super::Fetch;
use crate::error::Error;

/// Maximum bytes of the outputs of a job that are kept in memory. The rest is written to temporary files.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// The memory of the outputs of a job. It is part of the memory of queries.
#[derive(Debug)]
pub(super) struct OutputMemory {
    bytes_left: AtomicUsize,
    reservation: MemoryReservation,
}

impl OutputMemory {
    pub(super) fn of_job(runtime: &RuntimeEnv) -> Self {
        Self::of_bytes(MEMORY_BYTES_MAX, runtime)
    }

    fn of_bytes(bytes: usize, runtime: &RuntimeEnv) -> Self {
        let consumer = MemoryConsumer::new("TaskOutput").with_can_spill(true);
        Self { bytes_left: AtomicUsize::new(bytes), reservation: consumer.register(&runtime.memory_pool) }
    }

    /// Takes some of the memory. Returns whether it was left.
    fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
            && self.reservation.try_grow(bytes).is_ok()
    }

    /// Gives memory back to the queries.
    fn free(&self, bytes: usize) {
        self.reservation.shrink(bytes);
    }
}

/// The rows that a task has returned.
pub(super) struct Output {
    batches: Vec<RecordBatch>,
    /// The memory of these batches.
    memory: Arc<OutputMemory>,
    /// The rows after them, in a temporary file.
    rest: Option<SendableRecordBatchStream>,
}

impl Output {
    /// Reads all rows of a task.
    pub(super) async fn collect(
        mut rows: SendableRecordBatchStream,
        memory: Arc<OutputMemory>,
        runtime: Arc<RuntimeEnv>,
    ) -> DataFusionResult<Self> {
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await.transpose()? {
            if !memory.take(batch.get_array_memory_size()) {
                let rest = Some(spilled(batch, rows, runtime).await?);
                return Ok(Self { batches, memory, rest });
            }
            batches.push(batch);
        }
        Ok(Self { batches, memory, rest: None })
    }

    /// Returns what reads the rows, each once. Memory and file are freed on the way.
    pub(super) fn into_fetch(self) -> Fetch {
        Box::new(move || {
            let batches = stream::iter(self.batches).map(move |batch| {
                self.memory.free(batch.get_array_memory_size());
                Ok(batch)
            });
            batches.chain(stream::iter(self.rest).flatten()).map(|batch| batch.map_err(Error::from)).boxed()
        })
    }
}

/// Writes this batch and all after it to a temporary file. Returns what reads them.
async fn spilled(
    first: RecordBatch,
    mut rows: SendableRecordBatchStream,
    runtime: Arc<RuntimeEnv>,
) -> DataFusionResult<SendableRecordBatchStream> {
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let manager = SpillManager::new(runtime, metrics, rows.schema());
    let (mut writer, reader) = spsc_channel(usize::MAX, Arc::new(manager));
    let mut next = Some(first);
    while let Some(batch) = next {
        let written = tokio::task::spawn_blocking(move || writer.push_batch(&batch).map(|()| writer)).await;
        writer = written.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        next = rows.next().await.transpose()?;
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    fn batch(value: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value; 1000]));
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    }

    #[tokio::test]
    async fn what_does_not_fit_in_memory_is_read_from_a_file_in_the_same_order() {
        let batches: Vec<RecordBatch> = (0..5).map(batch).collect();
        let bytes = batches[0].get_array_memory_size();
        // The memory of the job, and the memory of all queries.
        for (fit, of_job, of_queries) in [
            (0, 0, usize::MAX),
            (2, 2 * bytes + 5, usize::MAX),
            (2, usize::MAX, 2 * bytes + 5),
            (5, 5 * bytes, 5 * bytes),
        ] {
            let pool = Arc::new(GreedyMemoryPool::new(of_queries));
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
            let memory = Arc::new(OutputMemory::of_bytes(of_job, &runtime));
            let rows = stream::iter(batches.clone().into_iter().map(Ok));
            let rows = Box::pin(RecordBatchStreamAdapter::new(batches[0].schema(), rows));
            let output = Output::collect(rows, memory, Arc::clone(&runtime)).await.unwrap();
            assert_eq!((output.batches.len(), output.rest.is_some()), (fit, fit < batches.len()));
            assert_eq!(runtime.memory_pool.reserved(), fit * bytes);
            let read: Vec<RecordBatch> = output.into_fetch()().map(Result::unwrap).collect().await;
            assert_eq!(read, batches);
            assert_eq!(runtime.memory_pool.reserved(), 0);
        }
    }
}
