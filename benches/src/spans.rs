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
use tusk_core::physical::{Answer, Phase, PhaseReport, TrainTask, answer_schema};

/// One task.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it did.
    pub phase: Phase,
    /// In which epoch.
    pub epoch: u32,
    /// The engine was called.
    pub called: Instant,
    /// The first row of the answer, the report, was there.
    pub answered: Instant,
    /// The last row was taken by the shuffle writer.
    pub ended: Instant,
    /// The report.
    pub report: PhaseReport,
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
        Ok(Box::pin(RecordBatchStreamAdapter::new(answer_schema(), noted)))
    }
}

/// The rows of a task's answer, with a note of when they came.
struct Noted {
    rows: SendableRecordBatchStream,
    task: Arc<TrainTask>,
    called: Instant,
    spans: Spans,
    answered: Option<(Instant, PhaseReport)>,
}

impl Noted {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.rows.next().await;
        match &batch {
            Some(Ok(batch)) if self.answered.is_none() => {
                let answered = Instant::now();
                let first = Answer::rows(batch).ok().and_then(|mut rows| rows.next()?.report().ok()?);
                self.answered = Some((answered, first.unwrap_or_default()));
            }
            None => {
                if let Some((answered, report)) = self.answered.take() {
                    let (phase, epoch, ended) = (self.task.phase, self.task.epoch, Instant::now());
                    self.spans.add(Span { phase, epoch, called: self.called, answered, ended, report });
                }
            }
            Some(_) => {}
        }
        batch
    }
}
