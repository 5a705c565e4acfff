//! The stress test of EVALUATE: the same rows, as they are and changed in fixed ways.

use datafusion::dataframe::DataFrame;
use tusk_core::manifest::{EvaluationResult, Manifest, StressRow};
use tusk_core::metrics::definitions::{balanced_accuracy, recall, roc_auc, specificity};
use tusk_pixels::CHANGES;

use super::record::Kept;
use super::scored::Scored;
use super::{Asked, EvaluateOptions, Evaluation, PartRows, judge, output, score, threshold_of};
use crate::error::Result;
use crate::session::{Rows, Session};

/// The name in the column `change` of the rows whose images are not changed.
const AS_IS: &str = "as is";

/// Rows per batch. Unlike a file, a changed image is not compressed: a radiograph of 20 million pixels has 20 MB.
const BATCH_ROWS: usize = 32;

/// What was measured on the images of a part after a change.
struct Measured {
    part: Option<String>,
    change: &'static str,
    evaluation: Evaluation,
    /// The mean score. `None` if no image of the part is readable.
    score: Option<f64>,
}

/// Returns the rows of a stress test, sorted by part: for each part a row for its images as they are, then a row per
/// change, in the order of [`CHANGES`]. Also returns what is kept of the first part.
///
/// The threshold is the same for all rows. With `threshold_for` it is chosen on the images as they are.
pub(super) async fn parts_of(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<(Vec<PartRows>, Option<Kept>)> {
    let (as_is, grouped) = score(context, manifest, rows, options, Asked::default()).await?;
    let threshold = threshold_of(&as_is, manifest, options)?;
    let mut measured = measure(AS_IS, &as_is, manifest, grouped, threshold);
    for change in CHANGES {
        let asked = Asked { change: Some(change), ..Asked::default() };
        let (changed, grouped) = score(context, manifest, rows, options, asked).await?;
        measured.extend(measure(change.name, &changed, manifest, grouped, threshold));
    }
    // The sort is stable, so the changes of a part stay in their order.
    measured.sort_by(|one, other| one.part.cmp(&other.part));
    let before = |part: &Option<String>| {
        measured.iter().find(|row| row.change == AS_IS && row.part == *part).and_then(|row| row.score)
    };
    let change_of = |row: &Measured| row.score.zip(before(&row.part)).map(|(score, before)| score - before);
    let row_of = |row: &Measured| -> Result<PartRows> {
        Ok((row.part.clone(), output::stressed(row.change, change_of(row), &row.evaluation)?))
    };
    let parts = measured.iter().map(row_of).collect::<Result<Vec<_>>>()?;
    let kept = measured.first().map(|first| {
        let changes = measured.iter().filter(|row| row.part == first.part);
        let changes = changes.map(|row| stress_row(row, change_of(row))).collect();
        let Evaluation { rows, skipped, .. } = first.evaluation;
        Kept { rows, skipped, result: EvaluationResult::Stress { threshold, changes } }
    });
    Ok((parts, kept))
}

fn stress_row(row: &Measured, score_change: Option<f64>) -> StressRow {
    let report = &row.evaluation.report;
    StressRow {
        change: row.change.to_owned(),
        score_change,
        balanced_accuracy: report.metric(&balanced_accuracy::METRIC),
        recall: report.metric(&recall::METRIC),
        specificity: report.metric(&specificity::METRIC),
        roc_auc: report.metric(&roc_auc::METRIC),
    }
}

fn measure(
    change: &'static str,
    scored: &Scored,
    manifest: &Manifest,
    grouped: bool,
    threshold: Option<f64>,
) -> Vec<Measured> {
    let parts = scored.parts(manifest.definition.classes.len()).into_iter();
    parts
        .map(|(part, rows)| {
            let score = mean_score(&rows, manifest);
            Measured { part, change, evaluation: judge(&rows, manifest, grouped, threshold), score }
        })
        .collect()
}

/// Returns the mean probability of the positive class; of more than two classes, of the true class.
fn mean_score(scored: &Scored, manifest: &Manifest) -> Option<f64> {
    let classes = manifest.definition.classes.len().max(1);
    let rows = scored.truth.iter().zip(scored.probabilities.chunks_exact(classes));
    let score = |(truth, probabilities): (&usize, &[f32])| {
        probabilities.get(manifest.definition.positive.unwrap_or(*truth)).copied().map(f64::from)
    };
    let sum: f64 = rows.filter_map(score).sum();
    (!scored.truth.is_empty()).then(|| sum / scored.truth.len() as f64)
}

/// Returns the query with smaller batches, because a batch of changed images is in memory as pixels.
pub(super) fn in_small_batches(query: DataFrame) -> DataFrame {
    let (mut state, plan) = query.into_parts();
    let config = state.config().clone();
    let rows = config.batch_size().min(BATCH_ROWS);
    *state.config_mut() = config.with_batch_size(rows);
    DataFrame::new(state, plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_the_changes_in_the_order_of_the_rows() {
        let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evaluation.md")).unwrap();
        let rows = CHANGES.iter().map(|change| format!("| `{}` | {} |\n", change.name, change.meaning));
        let table = rows.collect::<String>();
        assert!(manual.contains(&table), "docs/evaluation.md does not have these rows:\n{table}");
    }
}
