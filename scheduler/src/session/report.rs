//! Models, runs and evaluations as rows.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use datafusion::arrow::array::{TimestampMillisecondArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{
    EpochReport, ExchangeRecord, Manifest, PartRecord, RunRecord, RunStatus, Staleness, Timing, WorkerExchange,
};
use tusk_core::metrics::Calibration;
use tusk_core::spec::Architecture;

use crate::error::Result;

/// The columns of CREATE MODEL's rows.
pub fn epoch_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
        Arc::new(Schema::new(vec![
            field("model", DataType::Utf8, false),
            field("epoch", DataType::UInt32, false),
            field("train_loss", DataType::Float64, false),
            field("val_loss", DataType::Float64, true),
            field("val_accuracy", DataType::Float64, true),
            field("val_roc_auc", DataType::Float64, true),
            field("learning_rate", DataType::Float64, false),
            field("images", DataType::UInt64, false),
            field("skipped", DataType::UInt64, false),
            field("workers", DataType::UInt32, false),
            field("seconds", DataType::Float64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

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
    let out_of_fold = || manifest.validation.as_ref()?.roc_auc.value;
    manifest.best().map_or_else(out_of_fold, |epoch| epoch.val_roc_auc)
}

/// Accuracy on the held-out rows: of the best epoch, or out of fold.
fn val_accuracy(manifest: &Manifest) -> Option<f64> {
    let out_of_fold = || manifest.validation.as_ref()?.accuracy.value;
    manifest.best().map_or_else(out_of_fold, |epoch| epoch.val_accuracy)
}

/// What an ensemble has not: it was not trained, and each of its members sees and learned in its own way.
const OF_A_TRAINING: [&str; 25] = [
    "input",
    "border_crop",
    "intensity",
    "normalize",
    "loss",
    "optimizer",
    "learning_rate",
    "schedule",
    "batch_size",
    "augment",
    "mixup",
    "class_weights",
    "precision",
    "seed",
    "held_out",
    "training_rows",
    "leak",
    "started_from",
    "skipped",
    "workers",
    "epochs",
    "best_epoch",
    "val_loss",
    "data_fingerprint",
    "spec",
];

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
    let mut properties: Vec<(&str, String)> = vec![
        ("model", manifest.name.to_string()),
        ("architecture", spec.architecture.to_string()),
        ("parameters", manifest.parameters.to_string()),
        ("classes", definition.classes.join(", ")),
        ("positive", positive.map_or_else(|| "none".to_owned(), Clone::clone)),
        ("threshold", optional(manifest.threshold)),
        ("threshold_range", range(manifest.threshold_range)),
        ("members", members(manifest)),
        ("temperature", optional(calibration.map(|calibration| calibration.temperature))),
        ("bias", calibration.filter(|c| !c.bias.is_empty()).map_or_else(|| "none".to_owned(), bias)),
        ("input", format!("{} x {} x {}", input.channels, input.image_size, input.image_size)),
        ("border_crop", input.border_crop.to_string()),
        ("intensity", input.intensity.to_string()),
        ("normalize", format!("mean {:.6}, std {:.6}", input.mean, input.std)),
        ("loss", definition.loss.to_string()),
        ("optimizer", spec.optimizer.to_string()),
        ("learning_rate", spec.learning_rate.to_string()),
        ("schedule", spec.schedule.to_string()),
        ("batch_size", spec.batch_size.to_string()),
        ("augment", spec.augment.to_string()),
        ("mixup", spec.mixup.to_string()),
        ("class_weights", definition.class_weights.iter().map(|w| format!("{w:.4}")).collect::<Vec<_>>().join(", ")),
        ("precision", definition.precision.to_string()),
        ("seed", spec.seed.to_string()),
        ("group", spec.group.clone().unwrap_or_else(|| "none".to_owned())),
        ("held_out", held_out(manifest)),
        ("training_rows", counts(&manifest.data.train_rows)),
        ("validation_rows", counts(&manifest.data.val_rows)),
        ("leak", manifest.data.leak.map_or_else(|| "not checked".to_owned(), |leak| leak.to_string())),
        ("started_from", started_from(manifest)),
        ("skipped", manifest.data.skipped.to_string()),
        ("workers", manifest.data.rows_per_worker.len().to_string()),
        ("epochs", format!("{} of {}", manifest.epochs.len(), spec.epochs * spec.folds.unwrap_or(1))),
        ("best_epoch", manifest.best_epoch.to_string()),
        ("val_loss", optional(best.and_then(|e| e.val_loss))),
        ("val_accuracy", optional(val_accuracy(manifest))),
        ("val_roc_auc", optional(val_roc_auc(manifest))),
        ("data_fingerprint", manifest.data.fingerprint.clone()),
        ("weights", manifest.weights.path.clone()),
        ("weights_blake3", manifest.weights.checksum.clone()),
        ("run", manifest.run.to_string()),
        ("tusk_version", manifest.tusk_version.clone()),
        ("spec", serde_json::to_string(spec).unwrap_or_default()),
    ];
    if spec.architecture == Architecture::Ensemble {
        properties.retain(|(name, _)| !OF_A_TRAINING.contains(name));
    }
    batch([
        ("property", Arc::new(StringArray::from_iter_values(properties.iter().map(|p| p.0))) as ArrayRef),
        ("value", Arc::new(StringArray::from_iter_values(properties.iter().map(|p| &p.1)))),
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
    let by = spec.group.as_ref().map_or_else(|| "rows by their content".to_owned(), |group| format!("'{group}'"));
    match spec.folds {
        Some(folds) => format!("each of {folds} folds once, by {by}"),
        None if spec.validation_fraction > 0.0 => format!("{} of the rows, by {by}", spec.validation_fraction),
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
        (objective.word(), Arc::new(parts.iter().map(|part| part.objective).collect::<Float64Array>())),
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
    let from = match (&spec.warm_start, &spec.weights) {
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
        ("epochs", count(u64::from(record.definition.spec.epochs) * record.parts.len().max(1) as u64)),
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
