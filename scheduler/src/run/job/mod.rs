//! The jobs of a run, one file per job: its input, and what the run does with the task outputs.

mod adapt;
mod exchange;
mod fit_weights;
mod profile;
pub(super) mod source;
mod train;
mod validate;

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tusk_core::job::{Job, JobInput, Selection, TrainTask};
use tusk_core::physical::{TaskOutput, TrainExec};
use tusk_core::state::ModelState;

use super::training::Run;
use crate::error::Result;
use crate::run::aggregator::Aggregator;
use crate::run::job_runner::{Fetched, JobRows};
use source::Source;

pub(crate) use train::explain;

/// Number of workers whose task outputs are read at the same time. For each, three messages of at most 4 MiB are in
/// memory: one that is folded and two that wait.
const WORKERS_AT_A_TIME: usize = 8;

impl Run {
    /// Returns the training rows.
    pub(super) fn selection(&self) -> Selection {
        Selection { rows: self.request.training_rows(), dropped: self.record.dropped.clone() }
    }

    fn plan(&self, source: &Source, job: Job) -> Result<Arc<TrainExec>> {
        let partitions = match &job {
            // All workers run at once. Several share a task if there are more workers than devices.
            Job::Exchange(_) => self.context.workers,
            Job::Profile(_) | Job::FitWeights(_) | Job::Train(_) | Job::Validate(_) | Job::Adapt(_) => {
                self.record.workers
            }
        };
        let task = TrainTask {
            run: self.record.run.clone(),
            workers: self.record.workers,
            threads: self.record.threads,
            definition: self.record.definition.clone(),
            store: self.context.store.url().to_owned(),
            source_checksum: source.checksum.clone(),
            job,
        };
        Ok(Arc::new(TrainExec::in_partitions(Arc::new(task), Arc::clone(&source.plan), partitions)?))
    }

    /// Runs a job and passes every row of its task outputs to `fold`, except the reports. Returns the reports in the
    /// order of the workers. `name` is the name of the job in errors.
    async fn outputs<J: JobInput>(
        &self,
        name: &str,
        source: &Source,
        job: J,
        mut fold: impl FnMut(&TaskOutput<'_>) -> Result<()>,
    ) -> Result<Vec<J::Report>> {
        let mut reports = Vec::new();
        let mut batches = std::pin::pin!(self.run_job(name, source, job.into()).await?.in_turn());
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            for output in TaskOutput::rows(&batch)? {
                match output.report()? {
                    Some(report) => reports.push(report),
                    None => fold(&output)?,
                }
            }
        }
        self.unless_cancelled()?;
        Ok(reports)
    }

    /// Runs a job and averages the states of its workers. The outputs of a group of workers are read at the same time,
    /// one piece of each per round, so that only a few pieces of each output are in memory.
    async fn mean<J: JobInput>(&self, name: &str, source: &Source, job: J) -> Result<Mean<J::Report>> {
        let rows = self.run_job(name, source, job.into()).await?;
        let mut aggregator = Aggregator::new(self.record.workers);
        let mut aggregate_seconds = 0.0;
        for group in rows.side_by_side(WORKERS_AT_A_TIME) {
            let mut workers: Vec<Cursor> = group.into_iter().map(Cursor::new).collect();
            loop {
                for worker in &mut workers {
                    worker.advance().await?;
                }
                let round = workers.iter().map(Cursor::output).collect::<Result<Vec<_>>>()?;
                if round.iter().all(Option::is_none) {
                    break;
                }
                let started = Instant::now();
                aggregator.fold(&round)?;
                aggregate_seconds += started.elapsed().as_secs_f64();
            }
        }
        self.unless_cancelled()?;
        let (state, reports) = aggregator.finish()?;
        Ok(Mean { state, reports, aggregate_seconds })
    }

    async fn run_job(&self, name: &str, source: &Source, job: Job) -> Result<JobRows> {
        let plan = self.plan(source, job)?;
        let rows = self.context.jobs.run(name, plan, &self.context.cancel).await?;
        rows.ok_or_else(|| self.cancelled())
    }

    fn unless_cancelled(&self) -> Result<()> {
        if self.context.cancel.is_cancelled() { Err(self.cancelled()) } else { Ok(()) }
    }
}

/// The mean of the workers' states, their reports, and the duration of the averaging.
pub(super) struct Mean<R> {
    pub(super) state: ModelState,
    pub(super) reports: Vec<R>,
    pub(super) aggregate_seconds: f64,
}

/// The task output of one worker, row by row.
struct Cursor {
    batches: Fetched,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Cursor {
    /// Creates a cursor before the first row.
    fn new(batches: Fetched) -> Self {
        Self { batches, batch: None, row: 0 }
    }

    /// Moves to the next row, or past the last one.
    async fn advance(&mut self) -> Result<()> {
        self.row += 1;
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            self.row = 0;
            self.batch = self.batches.next().await.transpose()?;
            if self.batch.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn output(&self) -> Result<Option<TaskOutput<'_>>> {
        let Some(batch) = &self.batch else { return Ok(None) };
        Ok(TaskOutput::rows(batch)?.nth(self.row))
    }
}
