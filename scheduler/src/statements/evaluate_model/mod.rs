//! EVALUATE MODEL: computes probabilities with a query of `predict_proba`, then metrics with intervals.

mod options;
mod output;
mod record;
mod scored;
mod shortcuts;
mod stress;

use std::sync::Arc;

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ScalarUDF, cast, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use tusk_core::error::Error;
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::metrics::{Comparison, Judgement, METRICS, Report, Wanted, compare_roc_auc, log_loss, threshold_for};
use tusk_core::options::{ModelSpec, OptionValue};
use tusk_core::sql::Source;
use tusk_pixels::Change;
use tusk_udfs::image::{ChangeImage, ContentHash};
use tusk_udfs::predict::PredictProba;

use self::options::{Cut, Show};
use self::record::{Kept, keep};
use self::scored::Scored;
use super::{Execute, Executed, Verb};
use crate::access::users::Right;
use crate::error::{Result, Results};
use crate::run::{BOOTSTRAP_SEED, RESAMPLES, Validation};
use crate::session::{Rows, Session};

pub use options::EvaluateOptions;

pub(super) const VERB: Verb = Verb {
    name: "EVALUATE MODEL",
    begins: &["EVALUATE"],
    syntax: "EVALUATE MODEL name ON { table | (query) } [OPTIONS (key = value, ...)]",
    meaning: "Measures a model on labelled rows. docs/evaluation.md lists its options and metrics.",
    rows: "One row of metrics with their 95 % intervals; with the option `show` a curve, a calibration, a \
           confusion matrix, a stress test, or how far the scores follow nuisances.",
    right: Right::Query,
    parse: |parser| {
        parser.words("EVALUATE MODEL")?;
        let name = parser.model_name()?;
        parser.words("ON")?;
        Ok(Box::new(EvaluateModel { name, on: parser.source()?, options: parser.options()? }))
    },
};

#[derive(Debug)]
struct EvaluateModel {
    name: ModelName,
    on: Source,
    /// The options as written in the statement.
    options: Vec<(String, OptionValue)>,
}

impl Execute for EvaluateModel {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn execute<'a>(&'a self, session: &'a Session, _: Option<OnEvent>) -> Executed<'a> {
        Box::pin(async move {
            let rows = Rows::of_source(session, &self.on).await?;
            let options = EvaluateOptions::parse(&self.options)?;
            let manifest = session.training()?.store().manifest(&self.name).await?;
            let (result, kept) = result_of(session, &manifest, &rows, &options).await?;
            keep(session, &manifest, &rows, &options, kept).await;
            Ok(Results::of_batch(result))
        })
    }
}

/// The metrics of a model on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The model.
    pub model: ModelName,
    /// The number of rows with a readable image.
    pub rows: u64,
    /// The number of rows with an unreadable image.
    pub skipped: u64,
    /// The mean cross-entropy in nats. All rows have the same weight.
    pub loss: Option<f64>,
    /// The threshold that was applied. Only for models of two classes.
    pub threshold: Option<f64>,
    /// The metrics with 95 % bootstrap intervals.
    pub report: Report,
    /// The other metrics by name, in the order of [`METRICS`]. They have values only for models of two classes.
    pub scored: Vec<(&'static str, Option<f64>)>,
}

/// Evaluates a model on all rows together, also if the option `by` is set.
///
/// # Errors
/// Returns an error if a column does not exist, a label is not one of the model's classes, or there are no rows.
pub async fn evaluate(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<Evaluation> {
    let (scored, grouped) = score(context, manifest, rows, options, Asked::default()).await?;
    let threshold = threshold_of(&scored, manifest, options)?;
    Ok(judge(&scored, manifest, grouped, threshold))
}

/// Returns the rows that the statement returns, depending on its options, and what is kept of them for the model's card.
///
/// # Errors
/// As [`evaluate`]. Also returns an error if an option needs a model of two classes and the model has more.
async fn result_of(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<(RecordBatch, Option<Kept>)> {
    let (parts, kept) = match options.show {
        Show::Stress => Box::pin(stress::parts_of(context, manifest, rows, options)).await?,
        Show::Shortcuts => Box::pin(shortcuts::parts_of(context, manifest, rows, options)).await?,
        _ => (Box::pin(parts_of(context, manifest, rows, options)).await?, None),
    };
    let with_part = |(part, batch): PartRows| match &options.by {
        Some(column) => output::with_part(&batch, column, part.as_deref()),
        None => Ok(batch),
    };
    let batches = parts.into_iter().map(with_part).collect::<Result<Vec<_>>>()?;
    let Some(first) = batches.first() else { return Ok((RecordBatch::new_empty(Arc::new(Schema::empty())), None)) };
    Ok((concat_batches(&first.schema(), &batches).map_err(DataFusionError::from)?, kept))
}

/// The value of the column `by` and the rows that the statement returns for it. Without `by`, there is one part.
type PartRows = (Option<String>, RecordBatch);

/// Returns the rows of each part, sorted by part.
async fn parts_of(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<Vec<PartRows>> {
    let other = match &options.against {
        Some(name) => Some(context.training()?.store().manifest(name).await?),
        None => None,
    };
    if let Some(other) = &other {
        comparable(manifest, other)?;
    }
    let asked = Asked { other: other.as_ref(), ..Asked::default() };
    let (scored, grouped) = score(context, manifest, rows, options, asked).await?;
    let threshold = threshold_of(&scored, manifest, options)?;
    let mut parts = Vec::new();
    for (part, rows) in scored.parts(manifest.definition.classes.len()) {
        let batch = match (&other, options.show) {
            (Some(other), _) => output::comparison(manifest, other, &rows, &compare(&rows, manifest, grouped)?)?,
            (None, Show::Summary) => output::summary(&judge(&rows, manifest, grouped, threshold))?,
            (None, Show::ConfusionMatrix) => output::confusion_matrix(&rows, manifest, threshold)?,
            (None, show) => output::curve(&rows, positive(manifest, show.word())?, show)?,
        };
        parts.push((part, batch));
    }
    Ok(parts)
}

/// Scores rows and returns the result as a [`Validation`].
pub(super) async fn validation(context: &Session, manifest: &Manifest, rows: &Rows) -> Result<Validation> {
    let (scored, _) = score(context, manifest, rows, &EvaluateOptions::default(), Asked::default()).await?;
    Ok(Validation::new(scored.truth, scored.probabilities, scored.groups))
}

/// Returns the model's options with the columns of the statement. If neither has a group, or the rows do not have the model's,
/// there is none.
fn spec_of(manifest: &Manifest, rows: &Rows, options: &EvaluateOptions) -> ModelSpec {
    let mut spec = manifest.definition.spec.clone();
    if let Some(image) = &options.image {
        spec.data.image.clone_from(image);
    }
    if let Some(label) = &options.label {
        spec.data.label.clone_from(label);
    }
    let has_group = spec.data.group.as_ref().is_some_and(|group| rows.column("group", group).is_ok());
    spec.data.group = options.group.clone().or(spec.data.group.filter(|_| has_group));
    spec
}

/// What else [`score`] computes.
#[derive(Clone, Copy, Default)]
struct Asked<'a> {
    /// The model that is compared.
    other: Option<&'a Manifest>,
    /// The change of the images before they are scored.
    change: Option<&'a Change>,
    /// Whether to return the content hashes.
    has_contents: bool,
}

/// Scores the rows. Also returns whether the rows have groups.
async fn score(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
    Asked { other, change, has_contents }: Asked<'_>,
) -> Result<(Scored, bool)> {
    let spec = spec_of(manifest, rows, options);
    let part = match &options.by {
        Some(column) => rows.column("by", column)?,
        None => lit(ScalarValue::Utf8(None)),
    };
    let image = match change {
        Some(change) => ScalarUDF::from(ChangeImage::new()).call(vec![rows.image(&spec)?, lit(change.name)]),
        None => rows.image(&spec)?,
    };
    let predictor = Arc::clone(context.predictor());
    let predict = match options.calibrated {
        true => PredictProba::calibrated(predictor),
        false => PredictProba::new(predictor),
    };
    let predict = ScalarUDF::from(predict);
    // One call per class would run the net once per class. One call returns the map of all classes.
    let mut columns: Vec<Expr> = vec![
        rows.label(&spec)?.alias("truth"),
        cast(rows.group(&spec)?, DataType::Utf8).alias("group"),
        cast(part, DataType::Utf8).alias("part"),
        predict.call(vec![lit(manifest.name.as_str()), image.clone()]).alias("probabilities"),
    ];
    let predicted = |other: &Manifest| predict.call(vec![lit(other.name.as_str()), image.clone()]).alias("others");
    columns.extend(other.map(predicted));
    columns
        .extend(has_contents.then(|| ScalarUDF::from(ContentHash::new()).call(vec![image.clone()]).alias("content")));
    let scored = DataFrame::new(context.local().state(), rows.plan.clone()).select(columns)?;
    let scored = context.data_frame(scored.into_unoptimized_plan());
    let scored = if change.is_some() { stress::in_small_batches(scored) } else { scored };
    let mut batches = scored.execute_stream().await?;
    let mut scored = Scored::default();
    while let Some(batch) = batches.try_next().await? {
        scored.take(&batch, &manifest.definition.classes, &rows.name)?;
    }
    if scored.truth.is_empty() && scored.skipped() == 0 {
        return Err(Error::Data { message: format!("{} has no rows to evaluate", rows.name) }.into());
    }
    Ok((scored, spec.data.group.is_some()))
}

/// Returns the threshold to apply: the one of the options, or that of the model.
fn threshold_of(scored: &Scored, manifest: &Manifest, options: &EvaluateOptions) -> Result<Option<f64>> {
    let (wanted, least) = match options.cut {
        None => return Ok(own_threshold(manifest, options.calibrated)),
        Some(Cut::At(threshold)) => return positive(manifest, "threshold").map(|_| Some(threshold)),
        Some(Cut::For(wanted, least)) => (wanted, least),
    };
    let (truth, score) = scored.binary(positive(manifest, "threshold_for")?);
    let found = threshold_for(&truth, &score, wanted, least).filter(|threshold| threshold.is_finite());
    let metric = match wanted {
        Wanted::Sensitivity => "sensitivity",
        Wanted::Specificity => "specificity",
    };
    let none = || match truth.iter().any(|t| *t) && truth.iter().any(|t| !*t) {
        true => format!("no threshold has a {metric} of {least} on these rows; use a lower value"),
        false => "threshold_for needs rows of both classes, and all rows have the same class".to_owned(),
    };
    Ok(Some(found.ok_or_else(|| Error::Data { message: none() })?))
}

/// Returns the model's threshold. For calibrated probabilities, it is the calibrated threshold, so that the decisions
/// are the same.
fn own_threshold(manifest: &Manifest, calibrated: bool) -> Option<f64> {
    let (positive, threshold) = manifest.definition.positive.zip(manifest.threshold)?;
    match manifest.calibration_of_corrected() {
        Some(calibration) if calibrated => {
            let mut raw = [(1.0 - threshold) as f32; 2];
            *raw.get_mut(positive)? = threshold as f32;
            calibration.apply(&raw).get(positive).copied().map(f64::from)
        }
        _ => Some(threshold),
    }
}

/// Returns the positive class. `what` names in the error what needs one.
fn positive(manifest: &Manifest, what: &str) -> Result<usize> {
    let classes = manifest.definition.classes.len();
    let none = || Error::Data {
        message: format!("{what} is for models of two classes, and '{}' has {classes}", manifest.name),
    };
    Ok(manifest.definition.positive.ok_or_else(none)?)
}

fn comparable(one: &Manifest, other: &Manifest) -> Result<()> {
    positive(one, "against")?;
    if one.definition.classes == other.definition.classes {
        return Ok(());
    }
    let message = format!(
        "'{}' has the classes {} and '{}' has {}; only models of the same classes can be compared",
        one.name,
        one.definition.classes.join(", "),
        other.name,
        other.definition.classes.join(", ")
    );
    Err(Error::Data { message }.into())
}

fn compare(scored: &Scored, manifest: &Manifest, grouped: bool) -> Result<Comparison> {
    let positive = positive(manifest, "against")?;
    let (truth, score) = scored.binary(positive);
    let groups = grouped.then_some(scored.groups.as_slice());
    Ok(compare_roc_auc(&truth, (&score, &scored.other_score(positive)), groups, BOOTSTRAP_SEED, RESAMPLES))
}

fn judge(scored: &Scored, manifest: &Manifest, grouped: bool, threshold: Option<f64>) -> Evaluation {
    let classes = manifest.definition.classes.len();
    let groups = grouped.then_some(scored.groups.as_slice());
    let of_truth = |(row, class): (usize, &usize)| f64::from(scored.probabilities[row * classes + class]);
    let true_class: Vec<f64> = scored.truth.iter().enumerate().map(of_truth).collect();
    let binary = manifest.definition.positive.map(|positive| scored.binary(positive)).zip(threshold);
    let judgement = match &binary {
        Some(((truth, score), threshold)) => Judgement::binary(truth, score, *threshold),
        None => Judgement::multi(&scored.truth, &scored.probabilities, classes),
    };
    let report = judgement.as_ref().map(|judgement| judgement.report(groups, BOOTSTRAP_SEED, RESAMPLES));
    let without_interval = METRICS.iter().filter(|metric| !metric.has_interval());
    let of_scores =
        without_interval.map(|metric| (metric.name, judgement.as_ref().and_then(|judgement| judgement.scored(metric))));
    Evaluation {
        model: manifest.name.clone(),
        rows: scored.truth.len() as u64,
        skipped: scored.skipped(),
        loss: log_loss(&true_class, tusk_core::metrics::PROBABILITY_EPSILON),
        threshold,
        report: report.unwrap_or_default(),
        scored: of_scores.collect(),
    }
}
