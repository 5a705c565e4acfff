//! When the tasks of a job began and ended, seen from around the engine that runs them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{StreamExt, stream};
use tusk_core::engine::TrainEngine;
use tusk_core::ids::WorkerId;
use tusk_core::job::{Job, TrainReport, TrainTask, ValidateReport};
use tusk_core::manifest::Timing;
use tusk_core::physical::{TaskOutput, output_schema};

/// One task of a job that trains or validates an epoch.
#[derive(Clone, Debug)]
pub struct Span {
    /// The job.
    pub job: Job,
    /// The engine was called.
    pub called: Instant,
    /// The first row of the answer, the report, was there.
    pub answered: Instant,
    /// The last row was taken by the shuffle writer.
    pub ended: Instant,
    /// Where its time went, by its report.
    pub timing: Timing,
}

/// The spans of all engines that share it.
#[derive(Clone, Debug, Default)]
pub struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    /// Those so far.
    #[must_use]
    pub fn all(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, span: Span) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }
}

/// An engine that notes when its tasks begin and end.
#[derive(Debug)]
pub struct SpannedEngine<E> {
    /// Does the work.
    pub engine: E,
    /// Takes the notes.
    pub spans: Spans,
}

impl<E: TrainEngine> TrainEngine for SpannedEngine<E> {
    fn run(
        &self,
        task: Arc<TrainTask>,
        worker: WorkerId,
        source: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let called = Instant::now();
        let rows = self.engine.run(Arc::clone(&task), worker, source, context)?;
        let noted = Noted { rows, task, called, spans: self.spans.clone(), answered: None };
        let noted = stream::unfold(noted, |mut noted| async move {
            let batch = noted.next().await?;
            Some((batch, noted))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(output_schema(), noted)))
    }
}

/// The rows of a task's answer, with a note of when they came.
struct Noted {
    rows: SendableRecordBatchStream,
    task: Arc<TrainTask>,
    called: Instant,
    spans: Spans,
    answered: Option<(Instant, Option<Timing>)>,
}

impl Noted {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.rows.next().await;
        match &batch {
            Some(Ok(batch)) if self.answered.is_none() => {
                let answered = Instant::now();
                let first = TaskOutput::rows(batch).ok().and_then(|mut rows| rows.next());
                self.answered = Some((answered, first.and_then(|first| timing(&self.task.job, &first))));
            }
            None => {
                if let Some((answered, Some(timing))) = self.answered.take() {
                    let (job, called, ended) = (self.task.job.clone(), self.called, Instant::now());
                    self.spans.add(Span { job, called, answered, ended, timing });
                }
            }
            Some(_) => {}
        }
        batch
    }
}

/// The timing in the report on an epoch; `None` of other jobs.
fn timing(job: &Job, first: &TaskOutput<'_>) -> Option<Timing> {
    match job {
        Job::Train(_) => Some(first.report::<TrainReport>().ok()??.task.timing),
        Job::Validate(_) => Some(first.report::<ValidateReport>().ok()??.task.timing),
        Job::Profile(_) | Job::FitWeights(_) | Job::Exchange(_) => None,
    }
}
