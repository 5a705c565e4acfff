//! Models, runs and evaluations as rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use datafusion::arrow::array::{TimestampMillisecondArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{
    EpochReport, ExchangeRecord, Manifest, PartRecord, RunRecord, RunStatus, Staleness, Timing, WorkerExchange,
};
use tusk_core::metrics::Calibration;
use tusk_core::metrics::figures::{accuracy, roc_auc};
use tusk_core::options::Architecture;
use tusk_core::protocol::epoch_schema;

use crate::error::Result;

/// How an epoch's row calls its model: a fold's and a trial's has their name behind it.
pub(super) fn name_in_row(model: &ModelName, report: &EpochReport) -> String {
    report.part.as_ref().map_or_else(|| model.to_string(), |part| format!("{model}.{part}"))
}

/// One epoch as a row of [`epoch_schema`].
pub(super) fn epoch(model: &ModelName, report: &EpochReport) -> Result<RecordBatch, DataFusionError> {
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

/// SHOW MODELS.
pub(super) fn models(manifests: &[Manifest]) -> Result<RecordBatch> {
    let text = |value: fn(&Manifest) -> String| -> ArrayRef {
        Arc::new(manifests.iter().map(|m| Some(value(m))).collect::<StringArray>())
    };
    let number = |value: fn(&Manifest) -> Option<f64>| -> ArrayRef {
        Arc::new(manifests.iter().map(value).collect::<Float64Array>())
    };
    let created = manifests.iter().map(|m| i64::try_from(m.created_unix_ms).ok());
    batch([
        ("model", text(|m| m.name.to_string())),
        ("architecture", text(|m| m.definition.spec.architecture.to_string())),
        ("classes", text(|m| m.definition.classes.join(", "))),
        ("parameters", Arc::new(manifests.iter().map(|m| Some(m.parameters)).collect::<UInt64Array>())),
        ("epochs", Arc::new(manifests.iter().map(|m| Some(m.epochs.len() as u64)).collect::<UInt64Array>())),
        ("best_epoch", Arc::new(manifests.iter().map(|m| Some(m.best_epoch)).collect::<UInt32Array>())),
        ("val_roc_auc", number(val_roc_auc)),
        ("val_accuracy", number(val_accuracy)),
        ("threshold", number(|m| m.threshold)),
        ("created", Arc::new(created.collect::<TimestampMillisecondArray>())),
    ])
}

/// ROC AUC on the held-out rows: of the best epoch, or out of fold.
fn val_roc_auc(manifest: &Manifest) -> Option<f64> {
    let out_of_fold = || manifest.validation.as_ref()?.figure(&roc_auc::METRIC).value;
    manifest.best().map_or_else(out_of_fold, |epoch| epoch.val_roc_auc)
}

/// Accuracy on the held-out rows: of the best epoch, or out of fold.
fn val_accuracy(manifest: &Manifest) -> Option<f64> {
    let out_of_fold = || manifest.validation.as_ref()?.figure(&accuracy::METRIC).value;
    manifest.best().map_or_else(out_of_fold, |epoch| epoch.val_accuracy)
}

/// Which models have a property.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// All.
    Every,
    /// Not an ensemble: it was not trained, and each of its members sees and learned in its own way.
    Trained,
}

/// DESCRIBE MODEL: one property a row.
pub(super) fn description(manifest: &Manifest) -> Result<RecordBatch> {
    let definition = &manifest.definition;
    let (spec, input) = (&definition.spec, &definition.preprocessing);
    let optional = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |v| format!("{v:.4}"));
    // A manifest that was edited may name a class that is not there.
    let positive = definition.positive.and_then(|positive| definition.classes.get(positive));
    let best = manifest.best();
    let counts = |rows: &std::collections::BTreeMap<String, u64>| {
        rows.iter().map(|(class, rows)| format!("{class}: {rows}")).collect::<Vec<_>>().join(", ")
    };
    let calibration = manifest.calibration.as_ref();
    let bias = |calibration: &Calibration| {
        let of = |(class, bias): (&String, &f64)| format!("{class}: {bias:+.4}");
        definition.classes.iter().zip(&calibration.bias).map(of).collect::<Vec<_>>().join(", ")
    };
    let properties: Vec<(Of, &str, String)> = vec![
        (Of::Every, "model", manifest.name.to_string()),
        (Of::Every, "architecture", spec.architecture.to_string()),
        (Of::Every, "parameters", manifest.parameters.to_string()),
        (Of::Every, "classes", definition.classes.join(", ")),
        (Of::Every, "positive", positive.map_or_else(|| "none".to_owned(), Clone::clone)),
        (Of::Every, "threshold", optional(manifest.threshold)),
        (Of::Every, "threshold_range", range(manifest.threshold_range)),
        (Of::Every, "members", members(manifest)),
        (Of::Every, "temperature", optional(calibration.map(|calibration| calibration.temperature))),
        (Of::Every, "bias", calibration.filter(|c| !c.bias.is_empty()).map_or_else(|| "none".to_owned(), bias)),
        (Of::Trained, "input", format!("{} x {} x {}", input.channels, input.image_size, input.image_size)),
        (Of::Trained, "border_crop", input.border_crop.to_string()),
        (Of::Trained, "intensity", input.intensity.to_string()),
        (Of::Trained, "normalize", format!("mean {:.6}, std {:.6}", input.mean, input.std)),
        (Of::Trained, "loss", definition.loss.to_string()),
        (Of::Trained, "optimizer", spec.optimizer.algorithm.to_string()),
        (Of::Trained, "learning_rate", spec.optimizer.learning_rate.to_string()),
        (Of::Trained, "schedule", spec.optimizer.schedule.to_string()),
        (Of::Trained, "batch_size", spec.training.batch_size.to_string()),
        (Of::Trained, "augment", spec.input.augment.to_string()),
        (Of::Trained, "mixup", spec.input.mixup.to_string()),
        (
            Of::Trained,
            "class_weights",
            definition.class_weights.iter().map(|w| format!("{w:.4}")).collect::<Vec<_>>().join(", "),
        ),
        (Of::Trained, "precision", definition.precision.to_string()),
        (Of::Trained, "seed", spec.training.seed.to_string()),
        (Of::Every, "group", spec.data.group.clone().unwrap_or_else(|| "none".to_owned())),
        (Of::Trained, "held_out", held_out(manifest)),
        (Of::Trained, "training_rows", counts(&manifest.data.train_rows)),
        (Of::Every, "validation_rows", counts(&manifest.data.val_rows)),
        (Of::Trained, "leak", manifest.data.leak.map_or_else(|| "not checked".to_owned(), |leak| leak.to_string())),
        (Of::Trained, "started_from", started_from(manifest)),
        (Of::Trained, "skipped", manifest.data.skipped.to_string()),
        (Of::Trained, "workers", manifest.data.rows_per_worker.len().to_string()),
        (
            Of::Trained,
            "epochs",
            format!("{} of {}", manifest.epochs.len(), spec.training.epochs * spec.split.folds.unwrap_or(1)),
        ),
        (Of::Trained, "best_epoch", manifest.best_epoch.to_string()),
        (Of::Trained, "val_loss", optional(best.and_then(|e| e.val_loss))),
        (Of::Every, "val_accuracy", optional(val_accuracy(manifest))),
        (Of::Every, "val_roc_auc", optional(val_roc_auc(manifest))),
        (Of::Trained, "data_fingerprint", manifest.data.fingerprint.clone()),
        (Of::Every, "weights", manifest.weights.path.clone()),
        (Of::Every, "weights_blake3", manifest.weights.checksum.clone()),
        (Of::Every, "run", manifest.run.to_string()),
        (Of::Every, "tusk_version", manifest.tusk_version.clone()),
        (Of::Trained, "spec", serde_json::to_string(spec).unwrap_or_default()),
    ];
    let is_ensemble = spec.architecture == Architecture::Ensemble;
    let shown = || properties.iter().filter(|(of, _, _)| !(is_ensemble && *of == Of::Trained));
    batch([
        ("property", Arc::new(StringArray::from_iter_values(shown().map(|(_, name, _)| name))) as ArrayRef),
        ("value", Arc::new(StringArray::from_iter_values(shown().map(|(_, _, value)| value)))),
    ])
}

fn range(range: Option<(f64, f64)>) -> String {
    range.map_or_else(|| "none".to_owned(), |(low, high)| format!("{low:.4} to {high:.4}"))
}

/// The nets that are averaged.
fn members(manifest: &Manifest) -> String {
    let names: Vec<String> = manifest
        .members
        .iter()
        .map(|member| format!("{} ({})", member.name, member.definition.spec.architecture))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Which rows were held out.
pub(super) fn held_out(manifest: &Manifest) -> String {
    let spec = &manifest.definition.spec;
    let by = spec.data.group.as_ref().map_or_else(|| "rows by their content".to_owned(), |group| format!("'{group}'"));
    match spec.split.folds {
        Some(folds) => format!("each of {folds} folds once, by {by}"),
        None if spec.split.validation_fraction > 0.0 => {
            format!("{} of the rows, by {by}", spec.split.validation_fraction)
        }
        None if manifest.data.val_rows.values().sum::<u64>() > 0 => "the rows of VALIDATE ON".to_owned(),
        None => "none".to_owned(),
    }
}

/// SHOW TRIALS: one trial, or fold, a row.
pub(super) fn trials(record: &RunRecord) -> Result<RecordBatch> {
    let parts = &record.parts;
    let text = |value: fn(&PartRecord) -> Option<String>| -> ArrayRef {
        Arc::new(parts.iter().map(value).collect::<StringArray>())
    };
    let objective = record.definition.spec.search.objective;
    batch([
        ("trial", text(|part| Some(part.name.clone()))),
        ("status", text(|part| Some(part.status.word().to_owned()))),
        ("options", text(|part| Some(options(part)))),
        ("epochs", Arc::new(parts.iter().map(|part| Some(part.epochs)).collect::<UInt32Array>())),
        (objective.name(), Arc::new(parts.iter().map(|part| part.objective).collect::<Float64Array>())),
        ("seconds", Arc::new(parts.iter().map(|part| Some(part.seconds)).collect::<Float64Array>())),
        ("error", text(|part| part.error.clone())),
    ])
}

fn options(part: &PartRecord) -> String {
    part.options.iter().map(|(option, value)| format!("{option} = {value}")).collect::<Vec<_>>().join(", ")
}

/// The weights that the run started from.
pub(super) fn started_from(manifest: &Manifest) -> String {
    let spec = &manifest.definition.spec;
    let from = match (&spec.start.warm_start, &spec.start.weights) {
        (Some(name), _) => format!("model '{name}'"),
        (None, Some(location)) => format!("'{location}'"),
        (None, None) => return "the seed".to_owned(),
    };
    manifest.transfer.as_ref().map_or_else(|| from.clone(), |transfer| format!("{from}: {transfer}"))
}

/// SHOW TRAINING: one row with the state of the last run and where its time went.
pub(super) fn training(record: &RunRecord, active: bool) -> Result<RecordBatch> {
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
        ("epochs", count(u64::from(record.definition.spec.training.epochs) * record.parts.len().max(1) as u64)),
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
        // Of the pushes of an asynchronous or hogwild run.
        ("staleness_mean", maybe(all.mean())),
        ("staleness_max", Arc::new(UInt64Array::from(vec![all.mean().map(|_| all.max)])) as ArrayRef),
        ("staleness", Arc::new(StringArray::from(vec![staleness_per_worker(workers)])) as ArrayRef),
        // Of the workers' time after the first epoch, the share inside calls to libtorch.
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

/// A line per worker, such as `worker 0: 12 pushes, mean 0.75, max 2`; `None` in synchronous mode.
fn staleness_per_worker(workers: &[WorkerExchange]) -> Option<String> {
    let line = |(worker, exchange): (usize, &WorkerExchange)| {
        let Staleness { pushes, max, .. } = exchange.staleness;
        let mean = exchange.staleness.mean().unwrap_or(0.0);
        format!("worker {worker}: {pushes} pushes, mean {mean:.2}, max {max}")
    };
    (!workers.is_empty()).then(|| workers.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    // Every column may be NULL somewhere: one schema however many rows there are.
    let fields: Vec<Field> = columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(DataFusionError::from)?)
}
