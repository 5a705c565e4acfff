//! EVALUATE MODEL: a query over `predict_proba`, then the figures with their intervals.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ScalarUDF, cast, lit};
use futures::TryStreamExt;
use tusk_core::error::{Error, nearest};
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::metrics::{Report, evaluate_binary, evaluate_multi};
use tusk_core::random::content_hash;
use tusk_core::spec::OptionValue;
use tusk_udfs::predict::PredictProba;

use super::Session;
use super::source::Rows;
use crate::error::Result;

/// Draws of the bootstrap behind the intervals.
const RESAMPLES: usize = 1000;

/// Where the bootstrap starts.
const BOOTSTRAP_SEED: u64 = 42;

/// What EVALUATE may be told.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    image: Option<String>,
    label: Option<String>,
    group: Option<String>,
    threshold: Option<f64>,
}

impl EvaluateOptions {
    const NAMES: [&'static str; 4] = ["image", "label", "group", "threshold"];

    /// The options of a statement.
    ///
    /// # Errors
    /// When one is unknown or its value does not fit.
    pub fn parse(options: &[(String, OptionValue)]) -> Result<Self> {
        let mut parsed = Self::default();
        for (key, value) in options {
            let key = key.to_lowercase();
            match (key.as_str(), value) {
                ("image", OptionValue::Text(column)) => parsed.image = Some(column.clone()),
                ("label", OptionValue::Text(column)) => parsed.label = Some(column.clone()),
                ("group", OptionValue::Text(column)) => parsed.group = Some(column.clone()),
                ("threshold", OptionValue::Number(digits)) => {
                    let threshold = digits.parse().ok().filter(|t| *t > 0.0 && *t < 1.0);
                    parsed.threshold = Some(threshold.ok_or_else(|| invalid(&key, value, "a number between 0 and 1"))?);
                }
                ("threshold", _) => return Err(invalid(&key, value, "a number between 0 and 1").into()),
                (known, _) if Self::NAMES.contains(&known) => return Err(invalid(&key, value, "a column name").into()),
                _ => {
                    let suggestion = nearest(&key, Self::NAMES);
                    return Err(Error::UnknownOption { option: key, suggestion, known: Self::NAMES.join(", ") }.into());
                }
            }
        }
        Ok(parsed)
    }
}

fn invalid(option: &str, value: &OptionValue, expected: &str) -> Error {
    let (option, value, expected) = (option.to_owned(), value.to_string(), expected.to_owned());
    Error::InvalidOption { option, value, expected, suggestion: None }
}

/// A model's figures on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The model.
    pub model: ModelName,
    /// Rows that could be read.
    pub rows: u64,
    /// Rows that could not.
    pub skipped: u64,
    /// Mean cross-entropy, in nats, every row counting the same.
    pub loss: Option<f64>,
    /// The threshold that was applied; two classes only.
    pub threshold: Option<f64>,
    /// The figures, each with its 95 % bootstrap interval.
    pub report: Report,
}

/// Truth and probabilities as they come from the cluster.
#[derive(Default)]
struct Collected {
    truth: Vec<usize>,
    probabilities: Vec<f32>,
    groups: Vec<u64>,
    skipped: u64,
}

/// Evaluates a model on rows.
///
/// # Errors
/// When a column is missing, a label is not one of the model's classes, or there are no rows.
pub async fn evaluate(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<Evaluation> {
    let mut spec = manifest.definition.spec.clone();
    if let Some(image) = &options.image {
        spec.image.clone_from(image);
    }
    if let Some(label) = &options.label {
        spec.label.clone_from(label);
    }
    let has_group = spec.group.as_ref().is_some_and(|group| rows.column("group", group).is_ok());
    spec.group = options.group.clone().or(spec.group.filter(|_| has_group));
    let image = rows.image(&spec)?;
    let classes = &manifest.definition.classes;
    let predict = ScalarUDF::from(PredictProba::new(Arc::clone(context.predictor())));
    // One call per class would run the net once per class: the map is asked for once and taken apart here.
    let columns: Vec<Expr> = vec![
        rows.label(&spec)?.alias("truth"),
        cast(rows.group(&spec)?, DataType::Utf8).alias("group"),
        predict.call(vec![lit(manifest.name.as_str()), image]).alias("probabilities"),
    ];
    let scored = DataFrame::new(context.local().state(), rows.plan.clone()).select(columns)?;
    let mut batches = context.data_frame(scored.into_unoptimized_plan()).execute_stream().await?;
    let mut collected = Collected::default();
    while let Some(batch) = batches.try_next().await? {
        collected.take(&batch, classes, &rows.name)?;
    }
    if collected.truth.is_empty() && collected.skipped == 0 {
        return Err(Error::Data { message: format!("{} has no rows to evaluate", rows.name) }.into());
    }
    Ok(collected.judge(manifest, spec.group.is_some(), options.threshold))
}

impl Collected {
    fn take(
        &mut self,
        batch: &datafusion::arrow::record_batch::RecordBatch,
        classes: &[String],
        rows_name: &str,
    ) -> Result<()> {
        let text = |column: usize| {
            let column = datafusion::arrow::compute::cast(batch.column(column), &DataType::Utf8);
            Ok::<_, DataFusionError>(column?.as_string::<i32>().clone())
        };
        let (truth, groups) = (text(0)?, text(1)?);
        let maps = batch.column(2).as_map();
        for row in 0..batch.num_rows() {
            if truth.is_null(row) {
                let message = format!("{rows_name} has rows whose label is NULL; leave them out with WHERE");
                return Err(Error::Data { message }.into());
            }
            let label = truth.value(row);
            let Some(class) = classes.iter().position(|class| class == label) else {
                let message = format!(
                    "{rows_name} has the class '{label}', which the model does not know; its classes are {}",
                    classes.join(", ")
                );
                return Err(Error::Data { message }.into());
            };
            if maps.is_null(row) {
                self.skipped += 1;
                continue;
            }
            let entries = maps.value(row);
            self.probabilities.extend(entries.column(1).as_primitive::<Float32Type>().values().iter());
            self.truth.push(class);
            let group = (!groups.is_null(row)).then(|| content_hash(groups.value(row).as_bytes()));
            // A row without a group is a group of its own.
            self.groups.push(group.unwrap_or(self.truth.len() as u64));
        }
        Ok(())
    }

    fn judge(self, manifest: &Manifest, grouped: bool, threshold: Option<f64>) -> Evaluation {
        let classes = manifest.definition.classes.len();
        let groups = grouped.then_some(self.groups.as_slice());
        let threshold = threshold.or(manifest.threshold);
        let of_truth = |(row, class): (usize, &usize)| f64::from(self.probabilities[row * classes + class]);
        let true_class: Vec<f64> = self.truth.iter().enumerate().map(of_truth).collect();
        let report = match (manifest.definition.positive, threshold) {
            (Some(positive), Some(threshold)) => {
                let truth: Vec<bool> = self.truth.iter().map(|class| *class == positive).collect();
                let score = self.probabilities.iter().skip(positive).step_by(classes);
                let score: Vec<f64> = score.copied().map(f64::from).collect();
                evaluate_binary(&truth, &score, groups, threshold, BOOTSTRAP_SEED, RESAMPLES)
            }
            _ => evaluate_multi(&self.truth, &self.probabilities, classes, groups, BOOTSTRAP_SEED, RESAMPLES),
        };
        Evaluation {
            model: manifest.name.clone(),
            rows: self.truth.len() as u64,
            skipped: self.skipped,
            loss: tusk_core::metrics::log_loss(&true_class, tusk_core::metrics::PROBABILITY_EPSILON),
            threshold,
            report,
        }
    }
}
