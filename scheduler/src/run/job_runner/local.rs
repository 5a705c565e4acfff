//! Runs jobs in this process, without a cluster: each partition of a plan is a task on the threads for tasks.
//!
//! A task runs once. It shares its process with the run, so there is no executor to lose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tusk_core::cause::Cause;
use tusk_core::engine::engine_of;
use tusk_core::job::Job;
use tusk_core::manifest::FileRef;
use tusk_core::physical::TrainExec;
use tusk_core::state::ModelState;
use tusk_process::threads::Threads;

use super::output::{Output, OutputMemory};
use super::{JobRows, JobRunner};
use crate::error::{Error, Result};

/// Runs jobs on the threads for tasks.
///
/// As on an executor, one task per worker that can train runs at a time, and the others wait for it. A validation task may
/// run beside it, since workers that exchange weights train until the end of their run.
pub(crate) struct LocalRunner {
    threads: Threads,
    /// The session of tasks, with the training engine as an extension.
    context: Arc<TaskContext>,
    training: Arc<Semaphore>,
    validation: Arc<Semaphore>,
    /// The number of running jobs.
    running: AtomicUsize,
}

impl std::fmt::Debug for LocalRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRunner").field("running", &self.running).finish_non_exhaustive()
    }
}

impl JobRunner for LocalRunner {
    fn run<'a>(
        &'a self,
        phase: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Option<JobRows>>> {
        Box::pin(async move {
            let _running = Running::begin(&self.running);
            let outputs = tokio::select! {
                // Dropping the future stops the tasks.
                () = cancel.cancelled() => return Ok(None),
                outputs = self.outputs(phase, plan) => outputs?,
            };
            Ok(Some(JobRows::new(outputs.into_iter().map(Output::into_fetch))))
        })
    }

    fn offer(&self, file: &FileRef, state: ModelState) {
        // Without an engine, the next job fails.
        if let Ok(engine) = engine_of(&self.context) {
            engine.offer(file, &Arc::new(state));
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.running.load(Ordering::Relaxed), 0)
    }

    fn task_context(&self) -> Arc<TaskContext> {
        Arc::clone(&self.context)
    }
}

impl LocalRunner {
    /// Makes a runner whose engine trains this many workers at a time.
    pub(crate) fn new(threads: Threads, context: Arc<TaskContext>, workers: usize) -> Self {
        let slots = || Arc::new(Semaphore::new(workers.max(1)));
        Self { threads, context, training: slots(), validation: slots(), running: AtomicUsize::new(0) }
    }

    /// Runs the tasks of a job and returns their outputs, in the order of the partitions.
    async fn outputs(&self, phase: &str, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<Output>> {
        let slots = if validates(&plan) { &self.validation } else { &self.training };
        let memory = Arc::new(OutputMemory::of_job(&self.context.runtime_env()));
        let mut tasks = JoinSet::new();
        for partition in 0..plan.output_partitioning().partition_count() {
            let task = Task {
                partition,
                plan: Arc::clone(&plan),
                context: Arc::clone(&self.context),
                slots: Arc::clone(slots),
                memory: Arc::clone(&memory),
            };
            tasks.spawn_on(task.run(), self.threads.handle());
        }
        let mut outputs = BTreeMap::new();
        while let Some(ended) = tasks.join_next().await {
            let (partition, output) = ended.map_err(|error| stopped(phase, error))?;
            outputs.insert(partition, output.map_err(|error| failed(phase, &error))?);
        }
        Ok(outputs.into_values().collect())
    }
}

/// Returns whether a plan scores validation rows.
fn validates(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<TrainExec>().is_some_and(|train| matches!(train.task().job, Job::Validate(_)))
}

/// The task of one partition.
struct Task {
    partition: usize,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    slots: Arc<Semaphore>,
    memory: Arc<OutputMemory>,
}

impl Task {
    async fn run(self) -> (usize, Result<Output, DataFusionError>) {
        // The semaphore is never closed.
        let _slot = self.slots.acquire_owned().await;
        let output = match self.plan.execute(self.partition, Arc::clone(&self.context)) {
            Ok(rows) => Output::collect(rows, self.memory, self.context.runtime_env()).await,
            Err(error) => Err(error),
        };
        (self.partition, output)
    }
}

/// Counts a job while it runs.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the error of a job of which a task failed with this error.
fn failed(phase: &str, error: &DataFusionError) -> Error {
    Error::Task { phase: phase.to_owned(), cause: Cause::of(error) }
}

/// Returns the error of a job of which a task panicked, or was stopped with its threads.
fn stopped(phase: &str, error: JoinError) -> Error {
    let phase = phase.to_owned();
    match error.try_into_panic() {
        Ok(panic) => Error::Task { phase, cause: Cause::of_panic(panic.as_ref()) },
        Err(error) => Error::Job { phase, reason: error.to_string() },
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
