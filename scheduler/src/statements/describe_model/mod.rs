//! DESCRIBE MODEL: shows the properties of a model, or its model card.

mod adaptations;
mod card;
mod robustness;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{Manifest, strong_shortcuts, summary_of_uses};
use tusk_core::metrics::Calibration;
use tusk_core::options::Architecture;

use super::rows::{batch, class_frequencies, text};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "DESCRIBE MODEL",
    begins: &["DESCRIBE MODEL", "DESC MODEL"],
    syntax: "{ DESCRIBE | DESC } MODEL name [CARD]",
    meaning: "Shows what is known about a model. CARD gives a model card in Markdown: intended use, data, metrics, the last \
              stress test and the last evaluation of shortcuts, limits.",
    rows: "One row per property, with its value; with CARD one row.",
    right: Right::Query,
    parse: |parser| {
        parser.any_word();
        parser.words("MODEL")?;
        let name = parser.model_name()?;
        Ok(Box::new(DescribeModel { name, is_card: parser.optional("CARD")? }))
    },
};

#[derive(Debug)]
struct DescribeModel {
    name: ModelName,
    /// Whether to return the model card instead of the properties.
    is_card: bool,
}

impl Execute for DescribeModel {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let store = session.training()?.store();
            let manifest = store.manifest(&self.name).await?;
            let rows = match self.is_card {
                true => text("card", &card::card(&manifest, &robustness::evaluations(store, &manifest).await?))?,
                false => description(&manifest)?,
            };
            Ok(Results::of_batch(rows))
        })
    }
}

/// The models that have a property.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// All models.
    Every,
    /// All models except ensembles. An ensemble is not trained, and its members may differ in preprocessing and
    /// training.
    Trained,
}

/// Returns one row per property.
fn description(manifest: &Manifest) -> Result<RecordBatch> {
    let definition = &manifest.definition;
    let (spec, input) = (&definition.spec, &definition.preprocessing);
    let optional = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |v| format!("{v:.4}"));
    // The positive class of an edited manifest may not exist.
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
        (
            Of::Every,
            "class_frequencies",
            manifest.prior().map_or_else(|| "none".to_owned(), |prior| class_frequencies(&definition.classes, prior)),
        ),
        (Of::Trained, "input", format!("{} x {} x {}", input.channels, input.image_size, input.image_size)),
        (Of::Trained, "border_crop", input.border_crop.to_string()),
        (Of::Trained, "resize", input.resize.to_string()),
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
        (Of::Trained, "shortcuts", shortcuts(manifest)),
        (Of::Trained, "uses", manifest.uses.as_deref().map_or_else(|| "not measured".to_owned(), summary_of_uses)),
        (Of::Trained, "started_from", started_from(manifest)),
        (Of::Every, "adapted", adaptations::property(manifest)),
        (Of::Trained, "skipped", manifest.data.skipped.to_string()),
        (Of::Trained, "workers", manifest.data.rows_per_worker.len().to_string()),
        (
            Of::Trained,
            "epochs",
            format!("{} of {}", manifest.epochs.len(), spec.training.epochs * spec.split.folds.unwrap_or(1)),
        ),
        (Of::Trained, "best_epoch", manifest.best_epoch.to_string()),
        (Of::Trained, "val_loss", optional(best.and_then(|e| e.val_loss))),
        (Of::Every, "val_accuracy", optional(manifest.val_accuracy())),
        (Of::Every, "val_roc_auc", optional(manifest.val_roc_auc())),
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

/// Returns the names and architectures of the members.
fn members(manifest: &Manifest) -> String {
    let names: Vec<String> = manifest
        .members
        .iter()
        .map(|member| format!("{} ({})", member.name, member.definition.spec.architecture))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Returns which rows were held out.
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

fn shortcuts(manifest: &Manifest) -> String {
    match manifest.data.shortcuts.as_deref() {
        None => "not measured".to_owned(),
        Some(shortcuts) => strong_shortcuts(shortcuts).unwrap_or_else(|| "none".to_owned()),
    }
}

/// Returns the starting weights of the run.
pub(super) fn started_from(manifest: &Manifest) -> String {
    let spec = &manifest.definition.spec;
    let from = match (&spec.start.warm_start, &spec.start.weights) {
        (Some(name), _) => format!("model '{name}'"),
        (None, Some(location)) => format!("'{location}'"),
        (None, None) => return "the seed".to_owned(),
    };
    manifest.transfer.as_ref().map_or_else(|| from.clone(), |transfer| format!("{from}: {transfer}"))
}
