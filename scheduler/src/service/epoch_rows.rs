//! Returns the epochs of a run as rows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray, UInt32Array, UInt64Array};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tokio::sync::broadcast::error::RecvError;
use tusk_core::event::{OnEvent, RunEvent};
use tusk_core::ids::ModelName;
use tusk_core::manifest::EpochReport;
use tusk_core::protocol::{TrainingRequest, epoch_schema};
use tusk_core::results::RunBehind;

use crate::error::{Result, Results};
use crate::service::{RunHandle, TrainingService};

/// The epochs that a client has seen: the name of the model in their rows, and their number.
pub(crate) type Seen = HashSet<(String, u32)>;

impl TrainingService {
    /// Starts a run and returns its epochs as rows. `on_event` is called with every event.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_watched(&self, request: TrainingRequest, on_event: Option<OnEvent>) -> Result<Results> {
        let name = request.name.clone();
        Ok(epoch_rows(name, self.start(request).await?, on_event, Seen::new()))
    }
}

/// Returns the epochs of a run that are not in `seen`, as they finish. If the run ends with an error, the rows end with
/// this error.
pub(crate) fn epoch_rows(model: ModelName, mut run: RunHandle, on_event: Option<OnEvent>, seen: Seen) -> Results {
    let behind = RunBehind { model: model.clone(), cancel: run.cancellation() };
    let past: VecDeque<EpochReport> = std::mem::take(&mut run.past).into();
    let rows = stream::try_unfold((Some(run), past, seen), move |(run, mut past, mut seen)| {
        let (model, on_event) = (model.clone(), on_event.clone());
        async move {
            let Some(mut run) = run else { return Ok(None) };
            loop {
                let event = match past.pop_front() {
                    Some(epoch) => Ok(RunEvent::Epoch(epoch)),
                    None => run.events.recv().await,
                };
                match event {
                    // The epoch was already in the record.
                    Ok(RunEvent::Epoch(epoch)) if seen.contains(&(name_in_row(&model, &epoch), epoch.epoch)) => {}
                    Ok(event) => {
                        if let Some(on_event) = &on_event {
                            on_event(&event);
                        }
                        if let RunEvent::Epoch(epoch) = event {
                            seen.insert((name_in_row(&model, &epoch), epoch.epoch));
                            return Ok(Some((row(&model, &epoch)?, (Some(run), past, seen))));
                        }
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "missed events of the run"),
                    Err(RecvError::Closed) => {
                        run.finish().await.map_err(DataFusionError::from)?;
                        return Ok(None);
                    }
                }
            }
        }
    });
    Results::of_run(Box::pin(RecordBatchStreamAdapter::new(epoch_schema(), rows)), behind)
}

/// Returns the name of the model in the row of an epoch. For a fold or trial, this is the name of the child run.
fn name_in_row(model: &ModelName, report: &EpochReport) -> String {
    report.child.as_ref().map_or_else(|| model.to_string(), |child| format!("{model}.{child}"))
}

/// Returns an epoch as a row of [`epoch_schema`].
fn row(model: &ModelName, report: &EpochReport) -> Result<RecordBatch, DataFusionError> {
    let number = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let maybe = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name_in_row(model, report)])),
        Arc::new(UInt32Array::from(vec![report.epoch])),
        number(report.train_loss),
        maybe(report.val_loss),
        maybe(report.val_accuracy),
        maybe(report.val_roc_auc),
        number(report.learning_rate),
        Arc::new(UInt64Array::from(vec![report.images])),
        Arc::new(UInt64Array::from(vec![report.skipped])),
        Arc::new(UInt32Array::from(vec![report.workers])),
        number(report.seconds),
    ];
    Ok(RecordBatch::try_new(epoch_schema(), columns)?)
}
