//! Scores the validation rows with the weights of a checkpoint.

use tusk_core::job::{Rows, Scores, Validate, ValidateReport};
use tusk_core::manifest::FileRef;

use super::source::Source;
use crate::error::Result;
use crate::run::training::Run;
use crate::run::validation::Validation;

/// Number of copies of each validation row that the threshold is chosen on.
const COPIES: u32 = 4;

impl Run {
    /// Scores the validation rows: the rows of VALIDATE ON, or the held-out rows of the training table. Returns no
    /// scores if there are neither.
    pub(in crate::run) async fn validate(&self, epoch: u32, weights: &FileRef) -> Result<Validation> {
        let (scores, reports) = self.scores(epoch, weights, 0).await?;
        Ok(Validation::of_workers(scores, reports))
    }

    /// Scores copies of the validation rows, which are changed at random as in training. Returns no scores if there are no
    /// rows, or if training does not change them.
    pub(in crate::run) async fn validate_copies(&self, epoch: u32, weights: &FileRef) -> Result<Scores> {
        match self.request.spec.input.augment.is_none() {
            true => Ok(Scores::default()),
            false => self.scores(epoch, weights, COPIES).await.map(|(scores, _)| scores),
        }
    }

    async fn scores(&self, epoch: u32, weights: &FileRef, copies: u32) -> Result<(Scores, Vec<ValidateReport>)> {
        let (rows, source) = match &self.validate_source {
            Some(source) => (Rows::All, source),
            None if self.record.data.val_rows.is_empty() => return Ok((Scores::default(), Vec::new())),
            None => (Rows::HeldOut, &self.train_source),
        };
        let job = Validate { rows, epoch, weights: weights.clone(), copies };
        self.scores_of(&format!("validating epoch {epoch}"), source, job).await
    }

    /// Scores the rows of a source. `name` is the name of the job in errors.
    pub(in crate::run) async fn scores_of(
        &self,
        name: &str,
        source: &Source,
        job: Validate,
    ) -> Result<(Scores, Vec<ValidateReport>)> {
        self.retrying(|| async {
            let mut scores = Scores::default();
            let reports = self.outputs(name, source, job.clone(), |output| Ok(scores.fold(output)?)).await?;
            Ok((scores, reports))
        })
        .await
    }
}
