//! The jobs of a run: their plans, and what becomes of the rows they answer with.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use tusk_core::codec::encode_plan;
use tusk_core::ids::RunId;
use tusk_core::manifest::{FileRef, ModelDefinition, RunRecord};
use tusk_core::physical::{Answer, Part, Phase, PhaseReport, Rows, TrainExec, TrainTask};
use tusk_core::protocol::TrainingRequest;
use tusk_core::spec::Precision;
use tusk_core::state::{ModelState, checksum};

use super::attempts::Attempts;
use super::data::undecided;
use super::leak::Census;
use super::training::Run;
use crate::aggregator::Aggregator;
use crate::error::Result;
use crate::job::{Fetched, JobRows};

/// Workers whose answers are read side by side. Of each, three messages of at most 4 MiB are in memory: one that is folded
/// and two that wait.
const WORKERS_AT_A_TIME: usize = 8;

impl Run {
    pub(super) fn plan(
        &self,
        phase: Phase,
        rows: Rows,
        epoch: u32,
        weights: Option<FileRef>,
        source: &Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<TrainExec>> {
        let mut task = task_of(&self.record, self.context.store.url(), phase, rows, epoch, weights);
        task.source_checksum = checksum(&encode_plan(Arc::clone(source), self.context.jobs.codec().as_ref())?);
        Ok(Arc::new(TrainExec::try_new(Arc::new(task), Arc::clone(source))?))
    }

    /// The plan of a job that trains a part of an epoch.
    pub(super) fn train_plan(&self, epoch: u32, part: Part, weights: Option<FileRef>) -> Result<Arc<TrainExec>> {
        let plan = self.plan(Phase::Train, self.training_rows(), epoch, weights, &self.request.train)?;
        let task = TrainTask { part, ..plan.task().as_ref().clone() };
        Ok(Arc::new(TrainExec::try_new(Arc::new(task), Arc::clone(&self.request.train))?))
    }

    /// What the workers find in the rows of a source.
    pub(super) async fn census(
        &self,
        rows: Rows,
        source: &Arc<dyn ExecutionPlan>,
    ) -> Result<(Vec<PhaseReport>, Census)> {
        let mut attempts = Attempts::default();
        loop {
            match self.try_census(rows, source).await {
                Err(error) => attempts.after(error, &self.context.cancel).await?,
                answered => return answered,
            }
        }
    }

    async fn try_census(&self, rows: Rows, source: &Arc<dyn ExecutionPlan>) -> Result<(Vec<PhaseReport>, Census)> {
        let plan = self.plan(Phase::Profile, rows, 0, None, source)?;
        let (mut reports, mut census) = (Vec::new(), Census::default());
        self.answers("reading the images", plan, |answer| {
            reports.extend(answer.report()?);
            census.fold(answer);
            Ok(())
        })
        .await?;
        Ok((reports, census))
    }

    /// Runs a job and gives every row of its answer to `fold`.
    pub(super) async fn answers(
        &self,
        phase: &str,
        plan: Arc<TrainExec>,
        mut fold: impl FnMut(&Answer<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut batches = std::pin::pin!(self.run_job(phase, plan).await?.in_turn());
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            for answer in Answer::rows(&batch)? {
                fold(&answer)?;
            }
        }
        self.unless_cancelled()
    }

    /// Runs a job and averages what its workers learned. A group of them is read side by side, a piece of each at a time, so
    /// that of no answer more than a few pieces are in memory.
    pub(super) async fn mean(&self, phase: &str, plan: Arc<TrainExec>) -> Result<Mean> {
        let rows = self.run_job(phase, plan).await?;
        let mut aggregator = Aggregator::new(self.record.workers);
        let mut aggregate_seconds = 0.0;
        for group in rows.side_by_side(WORKERS_AT_A_TIME) {
            let mut workers: Vec<Cursor> = group.into_iter().map(Cursor::new).collect();
            loop {
                for worker in &mut workers {
                    worker.advance().await?;
                }
                let round = workers.iter().map(Cursor::answer).collect::<Result<Vec<_>>>()?;
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

    async fn run_job(&self, phase: &str, plan: Arc<TrainExec>) -> Result<JobRows> {
        let rows = self.context.jobs.run(phase, plan, &self.context.cancel).await?;
        rows.ok_or_else(|| self.cancelled())
    }

    fn unless_cancelled(&self) -> Result<()> {
        if self.context.cancel.is_cancelled() { Err(self.cancelled()) } else { Ok(()) }
    }
}

/// The mean of what workers learned, what they report, and how long averaging took.
pub(super) struct Mean {
    pub(super) state: ModelState,
    pub(super) reports: Vec<PhaseReport>,
    pub(super) aggregate_seconds: f64,
}

/// One worker's answer, row by row.
struct Cursor {
    batches: Fetched,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Cursor {
    /// Before the first row.
    fn new(batches: Fetched) -> Self {
        Self { batches, batch: None, row: 0 }
    }

    /// Goes to the next row, or behind the last.
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

    fn answer(&self) -> Result<Option<Answer<'_>>> {
        let Some(batch) = &self.batch else { return Ok(None) };
        Ok(Answer::rows(batch)?.nth(self.row))
    }
}

fn task_of(
    record: &RunRecord,
    store: &str,
    phase: Phase,
    rows: Rows,
    epoch: u32,
    weights: Option<FileRef>,
) -> TrainTask {
    TrainTask {
        run: record.run.clone(),
        epoch,
        part: Part::WHOLE,
        phase,
        rows,
        workers: record.workers,
        threads: record.threads,
        definition: record.definition.clone(),
        store: store.to_owned(),
        source_checksum: String::new(),
        weights,
        parameters: None,
        dropped: record.dropped.clone(),
    }
}

/// The plan of an epoch job as EXPLAIN shows it, before any row is read.
pub(crate) fn explain(request: &TrainingRequest, workers: u32, store: &str) -> Result<String> {
    let definition: ModelDefinition = undecided(&request.spec);
    let task = TrainTask {
        run: RunId::from("explain".to_owned()),
        epoch: 1,
        part: Part::WHOLE,
        phase: Phase::Train,
        rows: if request.validate.is_none() { Rows::Training } else { Rows::All },
        workers: request.spec.workers.unwrap_or(workers),
        threads: 1,
        definition: ModelDefinition { precision: Precision::Auto, ..definition },
        store: store.to_owned(),
        source_checksum: String::new(),
        weights: None,
        parameters: None,
        dropped: Vec::new(),
    };
    Ok(TrainExec::try_new(Arc::new(task), Arc::clone(&request.train))?.explain())
}
