//! Scores the validation rows with the weights of a checkpoint.

use tusk_core::job::{Rows, Scores, Validate};
use tusk_core::manifest::FileRef;

use crate::error::Result;
use crate::run::training::Run;
use crate::run::validation::Validation;

impl Run {
    /// Scores the validation rows: the rows of VALIDATE ON, or the held-out rows of the training table. Returns no
    /// scores if there are neither.
    pub(in crate::run) async fn validate(&self, epoch: u32, weights: &FileRef) -> Result<Validation> {
        let (rows, source) = match &self.validate_source {
            Some(source) => (Rows::All, source),
            None if self.record.data.val_rows.is_empty() => return Ok(Validation::default()),
            None => (Rows::HeldOut, &self.train_source),
        };
        let job = Validate { rows, epoch, weights: weights.clone() };
        let name = format!("validating epoch {epoch}");
        self.retrying(|| async {
            let mut scores = Scores::default();
            let reports = self.outputs(&name, source, job.clone(), |output| Ok(scores.fold(output)?)).await?;
            Ok(Validation::of_workers(scores, reports))
        })
        .await
    }
}
