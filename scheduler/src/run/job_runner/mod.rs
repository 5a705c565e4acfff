//! Runs the jobs of training runs: on a Ballista cluster, or in this process.

pub(crate) mod ballista;
pub(crate) mod local;
mod output;

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tusk_core::manifest::FileRef;
use tusk_core::state::ModelState;

use crate::error::Result;

/// Number of partitions whose rows are fetched at a time. While one is read, the next one is fetched.
const FETCHES_MAX: usize = 2;

/// Runs jobs. A job is a physical plan, and each partition of the plan is the work of a task.
pub(crate) trait JobRunner: Debug + Send + Sync {
    /// Runs a plan until all of its tasks have ended. `phase` is its name in errors. If `cancel` fires, the tasks are
    /// stopped and the result is `None`.
    ///
    /// # Errors
    /// `Error::Task` if a task failed with its own error, `Error::Lost` if another attempt may succeed.
    fn run<'a>(
        &'a self,
        phase: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Option<JobRows>>>;

    /// Offers the content of a checkpoint to the tasks of the next jobs, if they are in this process.
    fn offer(&self, _file: &FileRef, _state: ModelState) {}

    /// Returns the number of running jobs and the number of waiting jobs.
    fn counts(&self) -> (usize, usize);

    /// Returns the context in which plans are decoded.
    fn task_context(&self) -> Arc<TaskContext>;
}

/// The rows of one partition, while they are fetched.
pub(crate) type Fetched = BoxStream<'static, Result<RecordBatch>>;

/// The rows of one partition, before they are fetched.
pub(crate) type Fetch = Box<dyn FnOnce() -> Fetched + Send>;

/// The rows of a finished job, by partition. They stay where their tasks ran until they are fetched.
pub(crate) struct JobRows {
    partitions: Vec<Fetch>,
}

impl JobRows {
    pub(crate) fn new(partitions: impl IntoIterator<Item = Fetch>) -> Self {
        Self { partitions: partitions.into_iter().collect() }
    }

    /// Returns the rows, partition by partition.
    pub(crate) fn in_turn(self) -> impl Stream<Item = Result<RecordBatch>> {
        futures::stream::iter(self.partitions).map(|fetch| ready(fetch())).buffered(FETCHES_MAX).flatten()
    }

    /// Returns the rows of `at_a_time` partitions at a time, one stream per partition. At most two batches of each wait
    /// in memory to be read, besides those that were never sent elsewhere.
    pub(crate) fn side_by_side(self, at_a_time: usize) -> impl Iterator<Item = Vec<Fetched>> {
        let mut partitions = self.partitions.into_iter();
        std::iter::from_fn(move || {
            let group: Vec<Fetched> = partitions.by_ref().take(at_a_time).map(|fetch| fetch()).collect();
            (!group.is_empty()).then_some(group)
        })
    }
}
