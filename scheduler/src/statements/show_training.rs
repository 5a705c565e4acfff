//! SHOW TRAINING: shows the state of the last run of a model.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{ExchangeRecord, RunRecord, RunStatus, Staleness, Timing, WorkerExchange};

use super::rows::batch;
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "SHOW TRAINING",
    begins: &["SHOW TRAINING"],
    syntax: "SHOW TRAINING name",
    meaning: "Shows the state of a model's last run, and how long its parts took.",
    rows: "One row: status, epochs, best metrics, seconds per part, staleness of the workers, error.",
    right: Right::Query,
    parse: |parser| {
        parser.words("SHOW TRAINING")?;
        Ok(Box::new(ShowTraining { name: parser.model_name()? }))
    },
};

#[derive(Debug)]
struct ShowTraining {
    name: ModelName,
}

impl Execute for ShowTraining {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let service = session.training()?;
            let record = service.training(&self.name).await?;
            Ok(Results::of_batch(training(&record, service.is_active(&self.name))?))
        })
    }
}

/// Returns one row: the state of the last run, and the time of its parts.
fn training(record: &RunRecord, active: bool) -> Result<RecordBatch> {
    let number = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let count = |value: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![value])) };
    let best = record.best_epoch.and_then(|best| record.epochs.iter().find(|e| e.epoch == best));
    let maybe = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let mut timing = record.profile_timing;
    record.epochs.iter().for_each(|epoch| timing += epoch.timing);
    let epoch_seconds: f64 = record.epochs.iter().map(|e| e.seconds).sum();
    let images: u64 = record.epochs.iter().map(|e| e.images).sum();
    let status = match record.status {
        RunStatus::Running if !active => "interrupted",
        status => status.word(),
    };
    let later = record.epochs.get(1..).unwrap_or(&[]);
    let later_seconds: f64 = later.iter().map(|e| e.seconds * f64::from(e.workers)).sum();
    let later_libtorch: f64 = later.iter().map(|e| e.timing.libtorch).sum();
    let Timing { decode, train, validate, libtorch, aggregate, checkpoint, exchange } = timing;
    let workers = record.exchange.as_ref().map_or(&[][..], |exchange| &exchange.workers);
    let all = record.exchange.as_ref().map_or(Staleness::default(), ExchangeRecord::staleness);
    batch([
        ("model", text(record.model.as_str())),
        ("run", text(record.run.as_str())),
        ("status", text(status)),
        ("epoch", count(record.epochs.len() as u64)),
        ("epochs", count(u64::from(record.definition.spec.training.epochs) * record.children.len().max(1) as u64)),
        ("workers", count(u64::from(record.workers))),
        ("best_epoch", Arc::new(UInt32Array::from(vec![record.best_epoch])) as ArrayRef),
        ("val_loss", maybe(best.and_then(|e| e.val_loss))),
        ("val_roc_auc", maybe(best.and_then(|e| e.val_roc_auc))),
        ("images_per_second", maybe((train > 0.0).then(|| images as f64 / train))),
        ("profile_seconds", number(record.profile_seconds)),
        ("decode_seconds", number(decode)),
        ("epoch_seconds", number(epoch_seconds)),
        ("train_seconds", number(train)),
        ("validate_seconds", number(validate)),
        ("libtorch_seconds", number(libtorch)),
        ("aggregate_seconds", number(aggregate)),
        ("checkpoint_seconds", number(checkpoint)),
        ("exchange_seconds", number(exchange)),
        // The staleness of the pushes of an asynchronous or hogwild run.
        ("staleness_mean", maybe(all.mean())),
        ("staleness_max", Arc::new(UInt64Array::from(vec![all.mean().map(|_| all.max)])) as ArrayRef),
        ("staleness", Arc::new(StringArray::from(vec![staleness_per_worker(workers)])) as ArrayRef),
        // The fraction of the workers' time after the first epoch that is spent in calls of libtorch.
        ("libtorch_share_after_first", maybe((later_seconds > 0.0).then(|| later_libtorch / later_seconds))),
        ("active", Arc::new(BooleanArray::from(vec![active]))),
        (
            "error",
            match &record.error {
                Some(error) => text(error),
                None => new_null_array(&DataType::Utf8, 1),
            },
        ),
    ])
}

/// Returns one line per worker, such as `worker 0: 12 pushes, mean 0.75, max 2`. `None` in synchronous mode.
fn staleness_per_worker(workers: &[WorkerExchange]) -> Option<String> {
    let line = |(worker, exchange): (usize, &WorkerExchange)| {
        let Staleness { pushes, max, .. } = exchange.staleness;
        let mean = exchange.staleness.mean().unwrap_or(0.0);
        format!("worker {worker}: {pushes} pushes, mean {mean:.2}, max {max}")
    };
    (!workers.is_empty()).then(|| workers.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"))
}
