//! Measures when the tasks of a job begin and end, with a wrapper around their engine.

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
    /// The job of the task.
    pub job: Job,
    /// When the engine was called.
    pub called: Instant,
    /// When the first row of the output, the report, was ready.
    pub answered: Instant,
    /// When the shuffle writer had taken the last row.
    pub ended: Instant,
    /// The timing in the report of the task.
    pub timing: Timing,
}

/// Spans from all engines that share this value.
#[derive(Clone, Debug, Default)]
pub struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    /// The spans so far.
    #[must_use]
    pub fn all(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, span: Span) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }
}

/// An engine that records when its tasks begin and end.
#[derive(Debug)]
pub struct SpannedEngine<E> {
    /// The wrapped engine.
    pub engine: E,
    /// Receives the spans.
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
        let recorded = Recorded { rows, task, called, spans: self.spans.clone(), answered: None };
        let recorded = stream::unfold(recorded, |mut recorded| async move {
            let batch = recorded.next().await?;
            Some((batch, recorded))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(output_schema(), recorded)))
    }
}

/// The output of a task, which records when its rows arrive.
struct Recorded {
    rows: SendableRecordBatchStream,
    task: Arc<TrainTask>,
    called: Instant,
    spans: Spans,
    answered: Option<(Instant, Option<Timing>)>,
}

impl Recorded {
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

/// The timing in the report of a task that trains or validates. `None` for other jobs.
fn timing(job: &Job, first: &TaskOutput<'_>) -> Option<Timing> {
    match job {
        Job::Train(_) => Some(first.report::<TrainReport>().ok()??.task.timing),
        Job::Validate(_) => Some(first.report::<ValidateReport>().ok()??.task.timing),
        Job::Profile(_) | Job::FitWeights(_) | Job::Exchange(_) | Job::Adapt(_) => None,
    }
}
