//! SHOW SHORTCUTS: measures how well things that have nothing to do with the subject of the images tell the classes apart.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use tusk_core::Error;
use tusk_core::event::OnEvent;
use tusk_core::manifest::Shortcut;
use tusk_core::options::{Architecture, ModelSpec, OptionValue};
use tusk_core::sql::Source;

use super::rows::{batch, schema_of};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::session::{Rows, Session};
use crate::shortcuts::{Found, find};

pub(super) const VERB: Verb = Verb {
    name: "SHOW SHORTCUTS",
    begins: &["SHOW SHORTCUTS"],
    syntax: "SHOW SHORTCUTS FOR { table | (query) } [OPTIONS (key = value, ...)]",
    meaning: "Measures how well things that have nothing to do with the subject of the images tell the classes apart: sizes, \
              files, levels, other columns, and linear models that see only a part of an image. The options are `image`, \
              `label` and `group`. docs/evaluation.md describes the measurements.",
    rows: "One row per shortcut, the best first: its ROC AUC with a 95 % interval, the class, and what to do about it; \
           how many images were measured, how many of a large table were left out, and how many are unreadable.",
    right: Right::Query,
    parse: |parser| {
        parser.words("SHOW SHORTCUTS FOR")?;
        Ok(Box::new(ShowShortcuts { of: parser.source()?, options: parser.options()? }))
    },
};

#[derive(Debug)]
struct ShowShortcuts {
    of: Source,
    options: Vec<(String, OptionValue)>,
}

impl Execute for ShowShortcuts {
    fn schema(&self) -> SchemaRef {
        schema_of(output(&Found::default()))
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let rows = Rows::of_source(session, &self.of).await?;
            let spec = columns(&self.options)?;
            let found = find(session, &rows, &spec).await?;
            Ok(Results::of_batch(output(&found)?))
        })
    }
}

/// Returns a spec with the columns of the options.
fn columns(options: &[(String, OptionValue)]) -> Result<ModelSpec> {
    let mut spec = ModelSpec::new(Architecture::CNN);
    for (key, value) in options {
        let column = match value {
            OptionValue::Text(text) => text.trim().to_owned(),
            _ => {
                let (option, value, expected) = (key.clone(), value.to_string(), "a column name".to_owned());
                return Err(Error::InvalidOption { option, value, expected, suggestion: None }.into());
            }
        };
        match key.to_lowercase().as_str() {
            "image" => spec.data.image = column,
            "label" => spec.data.label = column,
            "group" => spec.data.group = Some(column),
            _ => return Err(Error::unknown_option(key, &["image", "label", "group"]).into()),
        }
    }
    Ok(spec)
}

/// Returns one row per shortcut.
fn output(found: &Found) -> Result<RecordBatch> {
    let shortcuts = &found.shortcuts;
    let text = |value: fn(&Shortcut) -> Option<&str>| -> ArrayRef {
        Arc::new(shortcuts.iter().map(value).collect::<StringArray>())
    };
    let number = |value: fn(&Shortcut) -> Option<f64>| -> ArrayRef {
        Arc::new(shortcuts.iter().map(value).collect::<Float64Array>())
    };
    let count = |value: u64| -> ArrayRef { Arc::new(shortcuts.iter().map(|_| Some(value)).collect::<UInt64Array>()) };
    batch([
        ("shortcut", text(|shortcut| Some(&shortcut.name))),
        ("roc_auc", number(|shortcut| shortcut.roc_auc.value)),
        ("roc_auc_low", number(|shortcut| shortcut.roc_auc.low)),
        ("roc_auc_high", number(|shortcut| shortcut.roc_auc.high)),
        ("class", text(|shortcut| Some(&shortcut.class))),
        ("what_to_do", text(|shortcut| shortcut.is_strong().then_some(shortcut.advice.as_str()))),
        ("images", count(found.images)),
        ("left_out", count(found.left_out)),
        ("skipped", count(found.skipped)),
    ])
}
