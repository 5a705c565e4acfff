//! How far the scores of a model follow nuisances, within each class of the rows.

use std::sync::Arc;

use tusk_core::manifest::{EvaluationResult, Manifest, NuisanceUse, USES_MAX};

use super::record::Kept;
use super::{Asked, EvaluateOptions, PartRows, output, score, spec_of};
use crate::error::Result;
use crate::run::KnownRows;
use crate::session::{Rows, Session};
use crate::shortcuts::nuisances;

/// What was measured on a part of the rows.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The uses, the strongest first.
    pub(super) uses: Vec<NuisanceUse>,
    /// Number of images that were measured.
    pub(super) images: u64,
    /// Number of readable images that were left out, because the table has more than the maximum.
    pub(super) left_out: u64,
    /// Number of unreadable images.
    pub(super) skipped: u64,
}

/// Returns the rows that the statement returns for each part, sorted by part, and what is kept of the last part.
///
/// All rows are scored. The nuisances are those of the images that SHOW SHORTCUTS measures, and are found by content hash.
pub(super) async fn parts_of(
    context: &Session,
    manifest: &Manifest,
    rows: &Rows,
    options: &EvaluateOptions,
) -> Result<(Vec<PartRows>, Option<Kept>)> {
    let asked = Asked { has_contents: true, ..Asked::default() };
    let (scored, _) = score(context, manifest, rows, options, asked).await?;
    let spec = spec_of(manifest, rows, options);
    let found = Arc::new(Box::pin(nuisances(context, rows, &spec)).await?);
    let (mut parts, mut kept) = (Vec::new(), None);
    for (part, scored) in scored.parts(manifest.definition.classes.len()) {
        let scores = (&*scored.truth, &*scored.probabilities);
        let hashes = (&*scored.groups, &*scored.contents);
        let known = KnownRows::new(scores, hashes, Arc::clone(&found), &manifest.definition);
        let (count, images) = (scored.truth.len() as u64, known.rows());
        let left_out = count.saturating_sub(images);
        let measured = Measured { uses: known.uses().await?, images, left_out, skipped: scored.skipped() };
        parts.push((part, output::uses(&measured)?));
        let uses = measured.uses.into_iter().take(USES_MAX).collect();
        let result = EvaluationResult::Shortcuts { images, uses };
        kept = Some(Kept { rows: count, skipped: measured.skipped, result });
    }
    Ok((parts, kept))
}
