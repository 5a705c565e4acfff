//! Converts evaluations to rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tusk_core::manifest::{Manifest, NuisanceUse};
use tusk_core::metrics::definitions::log_loss;
use tusk_core::metrics::{
    Comparison, CurvePoint, Interval, RELIABILITY_BINS, ReliabilityBin, curve as points, decide, reliability,
};

use super::Evaluation;
use super::options::Show;
use super::scored::Scored;
use super::shortcuts::Measured;
use crate::error::Result;

/// Returns one row of metrics.
pub(super) fn summary(evaluation: &Evaluation) -> Result<RecordBatch> {
    let mut columns = vec![
        ("model".to_owned(), text([evaluation.model.as_str()])),
        ("rows".to_owned(), count([evaluation.rows])),
        ("skipped".to_owned(), count([evaluation.skipped])),
        ("loss".to_owned(), number([evaluation.loss])),
        ("threshold".to_owned(), number([evaluation.threshold])),
    ];
    // The loss already has a column.
    for (metric, interval) in evaluation.report.metrics().filter(|(metric, _)| metric.name != log_loss::METRIC.name) {
        columns.extend(with_bounds(metric.name, &interval));
    }
    columns.extend(evaluation.scored.iter().map(|(name, value)| ((*name).to_owned(), number([*value]))));
    batch(columns)
}

/// Returns one row of a stress test: the change, the mean change of the score, and the metrics.
pub(super) fn stressed(change: &str, score_change: Option<f64>, evaluation: &Evaluation) -> Result<RecordBatch> {
    let first = [("change".to_owned(), text([change])), ("score_change".to_owned(), number([score_change]))];
    batch(first.into_iter().chain(columns(&summary(evaluation)?)).collect())
}

/// Returns one row per class and nuisance.
pub(super) fn uses(measured: &Measured) -> Result<RecordBatch> {
    let Measured { uses, images, left_out, skipped } = measured;
    let of = |bound: fn(&NuisanceUse) -> Option<f64>| number(uses.iter().map(bound));
    let same = |value: &u64| count(uses.iter().map(|_| *value));
    batch(vec![
        ("nuisance".to_owned(), text(uses.iter().map(|one| one.nuisance.as_str()))),
        ("class".to_owned(), text(uses.iter().map(|one| one.class.as_str()))),
        ("rows".to_owned(), count(uses.iter().map(|one| one.rows))),
        ("correlation".to_owned(), of(|one| one.correlation.value)),
        ("correlation_low".to_owned(), of(|one| one.correlation.low)),
        ("correlation_high".to_owned(), of(|one| one.correlation.high)),
        ("verdict".to_owned(), text(uses.iter().map(|one| one.verdict().text()))),
        ("images".to_owned(), same(images)),
        ("left_out".to_owned(), same(left_out)),
        ("skipped".to_owned(), same(skipped)),
    ])
}

/// Returns one row that compares two models on the same rows.
pub(super) fn comparison(one: &Manifest, other: &Manifest, rows: &Scored, found: &Comparison) -> Result<RecordBatch> {
    let mut columns = vec![
        ("model".to_owned(), text([one.name.as_str()])),
        ("against".to_owned(), text([other.name.as_str()])),
        ("rows".to_owned(), count([rows.truth.len() as u64])),
        ("skipped".to_owned(), count([rows.skipped()])),
    ];
    columns.extend(with_bounds("roc_auc", &found.first));
    columns.extend(with_bounds("roc_auc_against", &found.second));
    columns.extend(with_bounds("difference", &found.difference));
    columns.push(("p_value".to_owned(), number([found.p_value])));
    batch(columns)
}

/// Returns one row per threshold or bin.
pub(super) fn curve(rows: &Scored, positive: usize, show: Show) -> Result<RecordBatch> {
    let (truth, score) = rows.binary(positive);
    if show == Show::Calibration {
        return calibration(&reliability(&truth, &score, RELIABILITY_BINS));
    }
    let points = points(&truth, &score).unwrap_or_default();
    let of = |metric: fn(&CurvePoint) -> Option<f64>| number(points.iter().map(metric));
    let threshold = ("threshold".to_owned(), of(|point| Some(point.threshold)));
    let recall: fn(&CurvePoint) -> Option<f64> = |point| point.counts.recall();
    batch(match show {
        Show::PrecisionRecallCurve => vec![
            threshold,
            ("recall".to_owned(), of(recall)),
            ("precision".to_owned(), of(|point| point.counts.precision())),
        ],
        _ => vec![
            threshold,
            ("false_positive_rate".to_owned(), of(|point| Some(1.0 - point.counts.specificity()?))),
            ("true_positive_rate".to_owned(), of(recall)),
        ],
    })
}

fn calibration(bins: &[ReliabilityBin]) -> Result<RecordBatch> {
    let of = |metric: fn(&ReliabilityBin) -> Option<f64>| number(bins.iter().map(metric));
    batch(vec![
        ("low".to_owned(), of(|bin| Some(bin.low))),
        ("high".to_owned(), of(|bin| Some(bin.high))),
        ("rows".to_owned(), count(bins.iter().map(|bin| bin.rows))),
        ("mean_probability".to_owned(), of(|bin| bin.mean_probability)),
        ("positive_share".to_owned(), of(|bin| bin.positive_share)),
    ])
}

/// Returns one row per pair of true and predicted class, in the order of the classes. A row without a predicted class,
/// because of NaN among its probabilities, is not counted.
pub(super) fn confusion_matrix(rows: &Scored, manifest: &Manifest, threshold: Option<f64>) -> Result<RecordBatch> {
    let classes = &manifest.definition.classes;
    let cut = manifest.definition.positive.zip(threshold);
    let mut counts = vec![0_u64; classes.len() * classes.len()];
    for (truth, probabilities) in rows.truth.iter().zip(rows.probabilities.chunks_exact(classes.len().max(1))) {
        let Some(decided) = decide(probabilities, cut) else { continue };
        if let Some(count) = counts.get_mut(truth * classes.len() + decided) {
            *count += 1;
        }
    }
    let truths = classes.iter().flat_map(|class| classes.iter().map(move |_| class.as_str()));
    let predictions = classes.iter().flat_map(|_| classes.iter().map(String::as_str));
    batch(vec![
        ("truth".to_owned(), text(truths)),
        ("predicted".to_owned(), text(predictions)),
        ("rows".to_owned(), count(counts)),
    ])
}

/// Returns the rows with a first column that contains the value of their part.
pub(super) fn with_part(rows: &RecordBatch, column: &str, part: Option<&str>) -> Result<RecordBatch> {
    let parts: StringArray = std::iter::repeat_n(part, rows.num_rows()).collect();
    batch(std::iter::once((column.to_owned(), Arc::new(parts) as ArrayRef)).chain(columns(rows)).collect())
}

fn columns(rows: &RecordBatch) -> impl Iterator<Item = (String, ArrayRef)> {
    let names = rows.schema_ref().fields().iter().map(|field| field.name().clone());
    names.zip(rows.columns().iter().cloned())
}

fn with_bounds(name: &str, interval: &Interval) -> [(String, ArrayRef); 3] {
    [
        (name.to_owned(), number([interval.value])),
        (format!("{name}_low"), number([interval.low])),
        (format!("{name}_high"), number([interval.high])),
    ]
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from(values.into_iter().collect::<Vec<_>>()))
}

fn count(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from(values.into_iter().collect::<Vec<_>>()))
}

fn number(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch> {
    // Every column is nullable, so the schema does not depend on the rows.
    let field = |(name, array): &(String, ArrayRef)| Field::new(name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), arrays).map_err(DataFusionError::from)?)
}

#[cfg(test)]
mod tests {
    use tusk_core::ids::ModelName;
    use tusk_core::metrics::{Judgement, METRICS};

    use super::*;

    fn evaluation() -> Evaluation {
        let judgement = Judgement::binary(&[true, false, true, false], &[0.9, 0.2, 0.4, 0.6], 0.5).unwrap();
        let scored = METRICS.iter().filter(|metric| !metric.has_interval());
        Evaluation {
            model: ModelName::new("m").unwrap(),
            rows: 4,
            skipped: 0,
            loss: Some(0.5),
            threshold: Some(0.5),
            report: judgement.report(None, 1, 20),
            scored: scored.map(|metric| (metric.name, judgement.scored(metric))).collect(),
        }
    }

    #[test]
    fn a_row_of_a_stress_test_is_a_summary_with_two_columns_before_it() {
        let (found, plain) = (stressed("wide", Some(-0.25), &evaluation()).unwrap(), summary(&evaluation()).unwrap());
        let found: Vec<(String, ArrayRef)> = columns(&found).collect();
        assert_eq!(found[0], ("change".to_owned(), text(["wide"])));
        assert_eq!(found[1], ("score_change".to_owned(), number([Some(-0.25)])));
        assert_eq!(found[2..], columns(&plain).collect::<Vec<_>>());
    }

    #[test]
    fn the_summary_has_the_columns_of_the_manual_in_the_same_order() {
        let found = summary(&evaluation()).unwrap();
        let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evaluation.md")).unwrap();
        let (_, shown) = manual.split_once("tusk> EVALUATE MODEL m ON x_test;\n").unwrap();
        let (shown, _) = shown.split_once("\n\n").unwrap();
        let rows = shown.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(' '));
        let wanted: Vec<&str> = rows.map(|(name, _)| name).filter(|name| *name != "column").collect();
        let columns = found.schema_ref().fields().iter().map(|field| field.name().as_str());
        assert_eq!(columns.filter(|column| wanted.contains(column)).collect::<Vec<_>>(), wanted);
        assert!(found.columns().iter().all(|column| column.null_count() == 0), "{found:?}");
    }
}
