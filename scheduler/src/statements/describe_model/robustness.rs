//! The section of a model card on shortcuts and changed images.

use std::fmt::Write;

use tusk_core::manifest::{
    EvaluationKind, EvaluationRecord, EvaluationResult, Manifest, NuisanceUse, StressRow, summary_of_uses,
};
use tusk_core::metrics::Interval;
use tusk_core::store::ModelStore;

use super::card::table;
use crate::error::Result;
use crate::statements::rows::date;

/// Number of uses in a table of the card.
const USES_SHOWN: usize = 10;

/// Returns the last evaluation of each kind that was run on these weights of the model. A damaged record is skipped, with a
/// warning in the log.
pub(super) async fn evaluations(store: &ModelStore, manifest: &Manifest) -> Result<Vec<EvaluationRecord>> {
    let mut found = Vec::new();
    for kind in EvaluationKind::ALL {
        match store.evaluation(&manifest.name, kind).await {
            Ok(record) => found.extend(record.filter(|record| record.weights == manifest.weights.checksum)),
            Err(error @ tusk_core::Error::Damaged { .. }) => {
                tracing::warn!(model = %manifest.name, %error, "skipped a damaged evaluation");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Returns the section: the uses of the validation rows, then the evaluations.
pub(super) fn robustness(manifest: &Manifest, evaluations: &[EvaluationRecord]) -> String {
    let validation = match manifest.uses.as_deref() {
        None => "Uses of nuisances were not measured on the validation rows.".to_owned(),
        Some(uses) => format!("Uses of nuisances on the validation rows: {}.", summary_of_uses(uses)),
    };
    let name = &manifest.name;
    let paragraphs = EvaluationKind::ALL.map(|kind| match evaluations.iter().find(|record| record.kind() == kind) {
        Some(record) => evaluated(record),
        None => {
            let what = match kind {
                EvaluationKind::Shortcuts => "Uses of nuisances on other rows were not evaluated",
                EvaluationKind::Stress => "No stress test was run",
            };
            format!("{what}: `EVALUATE MODEL {name} ON your_table OPTIONS (show = '{}')`.", kind.name())
        }
    });
    std::iter::once(validation).chain(paragraphs).collect::<Vec<_>>().join("\n\n")
}

/// Describes an evaluation: its rows, its date and its result.
fn evaluated(record: &EvaluationRecord) -> String {
    let on = format!("{}, {} rows, {}", record.source, record.rows, date(record.evaluated_unix_ms));
    match &record.result {
        EvaluationResult::Shortcuts { images, uses } => {
            let summary = summary_of_uses(uses);
            let shown = uses.iter().filter(|one| one.correlation.low.is_some()).take(USES_SHOWN);
            let lines = shown.map(use_line).collect::<String>();
            let head = table(["nuisance", "class", "rows", "correlation", "95 % from", "to", "verdict"]);
            let table = if lines.is_empty() { String::new() } else { format!("\n\n{}", (head + &lines).trim_end()) };
            format!("Uses of nuisances ({on}, {images} images measured): {summary}.{table}")
        }
        EvaluationResult::Stress { threshold, changes } => {
            let at = threshold.map_or_else(String::new, |threshold| format!(", threshold {threshold:.4}"));
            let head = table(["change", "score change", "balanced accuracy", "recall", "specificity", "ROC AUC"]);
            let lines = changes.iter().map(stress_line).collect::<String>();
            format!("Stress test ({on}{at}):\n\n{}", (head + &lines).trim_end())
        }
    }
}

fn use_line(one: &NuisanceUse) -> String {
    let Interval { value, low, high } = one.correlation;
    let mut line = format!("| {} | {} | {} |", one.nuisance, one.class, one.rows);
    for number in [value, low, high] {
        // Writing to a String does not fail.
        let _always = write!(line, " {} |", shown(number));
    }
    format!("{line} {} |\n", one.verdict().text())
}

fn stress_line(row: &StressRow) -> String {
    let mut line = format!("| {} |", row.change);
    let metrics = [row.balanced_accuracy, row.recall, row.specificity, row.roc_auc];
    for number in std::iter::once(row.score_change).chain(metrics.map(|metric| metric.value)) {
        let _always = write!(line, " {} |", shown(number));
    }
    line + "\n"
}

fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("{number:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(result: EvaluationResult) -> EvaluationRecord {
        EvaluationRecord {
            weights: "ab".to_owned(),
            source: "x_test".to_owned(),
            rows: 944,
            skipped: 0,
            evaluated_unix_ms: 1_764_000_000_000,
            result,
        }
    }

    #[test]
    fn an_evaluation_has_its_rows_date_and_table() {
        let at = |value: f64| Interval { value: Some(value), low: Some(value - 0.1), high: Some(value + 0.1) };
        let one = |nuisance: &str, correlation: Interval| NuisanceUse {
            nuisance: nuisance.to_owned(),
            class: "NORMAL".to_owned(),
            rows: 257,
            correlation,
        };
        let uses = vec![one("width", at(0.6)), one("format", Interval::default())];
        let text = evaluated(&record(EvaluationResult::Shortcuts { images: 944, uses }));
        let expected = "Uses of nuisances (x_test, 944 rows, 2025-11-24, 944 images measured): width in NORMAL (rank \
                        correlation 0.60).\n\n\
                        | nuisance | class | rows | correlation | 95 % from | to | verdict |\n\
                        |---|---|---|---|---|---|---|\n\
                        | width | NORMAL | 257 | 0.6000 | 0.5000 | 0.7000 | the score rises with it |";
        assert_eq!(text, expected);
        let row = StressRow {
            change: "wide".to_owned(),
            score_change: Some(0.1391),
            balanced_accuracy: at(0.8565),
            recall: at(0.9971),
            specificity: Interval::default(),
            roc_auc: at(0.9957),
        };
        let text = evaluated(&record(EvaluationResult::Stress { threshold: Some(0.25), changes: vec![row] }));
        assert!(
            text.starts_with("Stress test (x_test, 944 rows, 2025-11-24, threshold 0.2500):\n\n| change |"),
            "{text}"
        );
        assert!(text.ends_with("|\n| wide | 0.1391 | 0.8565 | 0.9971 | none | 0.9957 |"), "{text}");
    }
}
