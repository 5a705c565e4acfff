//! What of another model's weights fits the net: a job, because only executors know nets.

use tusk_core::job::FitWeights;
use tusk_core::manifest::FileRef;
use tusk_core::state::ModelState;
use tusk_core::transfer::Transfer;

use crate::error::Result;
use crate::run::training::Run;

impl Run {
    /// The state that the net has with what fits of a file.
    pub(in crate::run) async fn fit_weights(&self, file: &FileRef) -> Result<(ModelState, Transfer)> {
        let job = FitWeights { weights: file.clone() };
        let fitted =
            self.retrying(|| self.mean("fitting the weights to start from", &self.train_source, job.clone())).await?;
        let transfer = fitted.reports.into_iter().find_map(|report| report.transfer);
        Ok((fitted.state, transfer.unwrap_or_default()))
    }
}
