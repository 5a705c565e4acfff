//! SHOW MODELS: lists the published models.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::event::OnEvent;
use tusk_core::manifest::Manifest;

use super::rows::{batch, schema_of};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::Session;

pub(super) const VERB: Verb = Verb {
    name: "SHOW MODELS",
    begins: &["SHOW MODELS"],
    syntax: "SHOW MODELS",
    meaning: "Lists the published models.",
    rows: "One row per model: its architecture, classes, size, metrics on the held-out rows, threshold and time.",
    right: Right::Query,
    parse: |parser| {
        parser.words("SHOW MODELS")?;
        Ok(Box::new(ShowModels))
    },
};

#[derive(Debug)]
struct ShowModels;

impl Execute for ShowModels {
    fn schema(&self) -> SchemaRef {
        schema_of(models(&[]))
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move { Ok(Results::of_batch(models(&session.training()?.store().manifests().await?)?)) })
    }
}

fn models(manifests: &[Manifest]) -> Result<RecordBatch> {
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
        ("val_roc_auc", number(Manifest::val_roc_auc)),
        ("val_accuracy", number(Manifest::val_accuracy)),
        ("threshold", number(|m| m.threshold)),
        ("created", Arc::new(created.collect::<TimestampMillisecondArray>())),
    ])
}
