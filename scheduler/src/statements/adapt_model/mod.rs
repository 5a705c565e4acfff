//! ADAPT MODEL: adapts a trained model to the images of a site, without labels.

mod options;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::options::OptionValue;
use tusk_core::sql::Source;

use self::options::AdaptOptions;
use super::rows::{batch, class_frequencies, schema_of};
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::run::adaptation::{AdaptRequest, Adapted};
use crate::session::{Rows, Session};

pub(super) const VERB: Verb = Verb {
    name: "ADAPT MODEL",
    begins: &["ADAPT"],
    syntax: "ADAPT MODEL name TO { table | (query) } [AS name] [OPTIONS (key = value, ...)]",
    meaning: "Adapts a model to the images of a site, without labels: measures the statistics of its normalization layers \
              again and, if asked, estimates the class frequencies. Without AS, it replaces the model. docs/evaluation.md \
              lists its options, and says when it helps and when it harms.",
    rows: "One row: the numbers of readable and unreadable images, how far the statistics of the images are from those of the \
           model, and the estimated class frequencies.",
    right: Right::Train,
    parse: |parser| {
        parser.words("ADAPT MODEL")?;
        let name = parser.model_name()?;
        parser.words("TO")?;
        let to = parser.source()?;
        let renamed = if parser.optional("AS")? { Some(parser.model_name()?) } else { None };
        Ok(Box::new(AdaptModel { name, to, renamed, options: parser.options()? }))
    },
};

#[derive(Debug)]
struct AdaptModel {
    name: ModelName,
    to: Source,
    /// The name of the adapted model. `None` if it replaces the model.
    renamed: Option<ModelName>,
    /// The options as written in the statement.
    options: Vec<(String, OptionValue)>,
}

impl AdaptModel {
    /// Returns the request for the training service.
    async fn request(&self, session: &Session) -> Result<AdaptRequest> {
        let rows = Rows::of_source(session, &self.to).await?;
        let options = AdaptOptions::parse(&self.options)?;
        let manifest = session.training()?.store().manifest(&self.name).await?;
        let measuring = options.measuring(&manifest)?;
        let target = self.renamed.as_ref().unwrap_or(&self.name).clone();
        if target != self.name {
            target.refuse_child()?;
        }
        let mut spec = manifest.definition.spec.clone();
        if let Some(image) = options.image {
            spec.data.image = image;
        }
        // Validation needs a class of the model for each row. Nothing depends on it.
        let label = manifest.definition.classes.first().map_or("", String::as_str);
        let images = rows.images_plan(session, &spec, label).await?;
        let source = match &self.to {
            Source::Table(table) => table.to_string(),
            Source::Query(query) => format!("({query})"),
        };
        let (workers, class_prior) = (options.workers, options.class_prior);
        Ok(AdaptRequest { manifest, target, images, images_name: rows.name, source, workers, measuring, class_prior })
    }
}

impl Execute for AdaptModel {
    fn schema(&self) -> SchemaRef {
        schema_of(output(&[]))
    }

    fn execute<'a>(&'a self, session: &'a Session, on_event: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let request = Box::pin(self.request(session)).await?;
            let handle = session.training()?.adapt(request).await?;
            // The row is awaited with the events. If it is dropped, the handle cancels the adaptation.
            let row = stream::once(async move {
                let adapted = handle.finish(on_event).await?;
                Ok::<_, DataFusionError>(output(&[adapted])?)
            });
            Ok(Results::new(Box::pin(RecordBatchStreamAdapter::new(self.schema(), row))))
        })
    }
}

/// Returns a row per adaptation: one, or none for the columns.
fn output(adapted: &[Adapted]) -> Result<RecordBatch> {
    let text = |value: fn(&Adapted) -> Option<String>| -> ArrayRef {
        Arc::new(adapted.iter().map(value).collect::<StringArray>())
    };
    let count = |value: fn(&Adapted) -> u64| -> ArrayRef {
        Arc::new(adapted.iter().map(|adapted| Some(value(adapted))).collect::<UInt64Array>())
    };
    let number = |value: fn(&Adapted) -> Option<f64>| -> ArrayRef {
        Arc::new(adapted.iter().map(value).collect::<Float64Array>())
    };
    batch([
        ("model", text(|adapted| Some(adapted.manifest.name.to_string()))),
        ("images", count(|adapted| adapted.adaptation.images)),
        ("skipped", count(|adapted| adapted.adaptation.skipped)),
        ("shift_mean", number(|adapted| mean_shift(&adapted.shifts))),
        ("shift_max", number(|adapted| largest_shift(&adapted.shifts).map(|(_, shift)| *shift))),
        ("shift_max_layer", text(|adapted| largest_shift(&adapted.shifts).map(|(layer, _)| layer.clone()))),
        (
            "class_frequencies",
            text(|adapted| {
                let prior = adapted.adaptation.prior.as_ref()?;
                Some(class_frequencies(&adapted.manifest.definition.classes, prior))
            }),
        ),
    ])
}

fn mean_shift(shifts: &[(String, f64)]) -> Option<f64> {
    (!shifts.is_empty()).then(|| shifts.iter().map(|(_, shift)| shift).sum::<f64>() / shifts.len() as f64)
}

fn largest_shift(shifts: &[(String, f64)]) -> Option<&(String, f64)> {
    shifts.iter().max_by(|(_, one), (_, other)| one.total_cmp(other))
}
