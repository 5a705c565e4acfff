//! Fits existing weights to the net. This is a job because only executors know the tensors of a net.

use tusk_core::job::FitWeights;
use tusk_core::manifest::FileRef;
use tusk_core::state::ModelState;
use tusk_core::transfer::Transfer;

use crate::error::Result;
use crate::run::training::Run;

impl Run {
    /// Returns the complete state of the net, with the tensors of the file that fit.
    pub(in crate::run) async fn fit_weights(&self, file: &FileRef) -> Result<(ModelState, Transfer)> {
        let job = FitWeights { weights: file.clone() };
        let fitted =
            self.retrying(|| self.mean("fitting the starting weights", &self.train_source, job.clone())).await?;
        let transfer = fitted.reports.into_iter().find_map(|report| report.transfer);
        Ok((fitted.state, transfer.unwrap_or_default()))
    }
}
