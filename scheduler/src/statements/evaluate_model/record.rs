//! Keeps the last stress test and the last evaluation of shortcuts of a model, which are on its card.

use tusk_core::manifest::{EvaluationRecord, EvaluationResult, Manifest, SOURCE_CHARS_MAX};

use super::EvaluateOptions;
use crate::run::unix_ms;
use crate::session::{Rows, Session};

/// What is kept of an evaluation.
#[derive(Debug)]
pub(super) struct Kept {
    /// Number of rows with a readable image.
    pub(super) rows: u64,
    /// Number of rows with an unreadable image.
    pub(super) skipped: u64,
    pub(super) result: EvaluationResult,
}

/// Keeps an evaluation, unless its client may not change models, or the options make it one of parts or of calibrated
/// probabilities. An error is logged: the client has the result.
pub(super) async fn keep(
    session: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
    kept: Option<Kept>,
) {
    let Some(Kept { rows: count, skipped, result }) = kept else { return };
    if !session.may_train() || options.by.is_some() || options.calibrated {
        return;
    }
    let record = EvaluationRecord {
        weights: manifest.weights.checksum.clone(),
        source: rows.name.chars().take(SOURCE_CHARS_MAX).collect(),
        rows: count,
        skipped,
        evaluated_unix_ms: unix_ms(),
        result,
    };
    let Ok(training) = session.training() else { return };
    // The statement does not wait for a store that fails.
    if let Err(error) = training.store().without_patience().write_evaluation(&manifest.name, &record).await {
        tracing::warn!(model = %manifest.name, kind = record.kind().name(), %error, "the evaluation was not kept");
    }
}
