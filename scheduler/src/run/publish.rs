//! Publishes the best epoch of a run as a model.

use tusk_core::ids::ModelName;
use tusk_core::manifest::{FORMAT_VERSION, Manifest};
use tusk_core::state::ModelState;

use super::training::{Run, unix_ms};
use super::uses::uses_of_run;
use super::validation::Validation;
use crate::error::Result;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Learned {
    /// The weights of its best epoch.
    pub(crate) state: ModelState,
    /// The scores of its validation rows.
    pub(crate) validation: Validation,
}

impl Run {
    /// Returns the weights of the best epoch, and the scores of the validation rows with these weights.
    pub(crate) async fn learned(&self) -> Result<Learned> {
        let (Some(best_epoch), Some(best)) = (self.record.best_epoch, &self.record.best) else {
            let message = "training ended without an epoch to publish".to_owned();
            return Err(tusk_core::Error::Data { message }.into());
        };
        let copies = self.validate_copies(best_epoch, best).await?;
        let validation = self.validate(best_epoch, best).await?.with_copies(copies);
        let state = self.context.store.read_state(best).await?;
        let state = state.moving_average().unwrap_or_else(|| state.without_optimizer());
        Ok(Learned { state, validation })
    }

    /// Publishes the model under a name: that of this run, or that of the run whose best child run this is.
    pub(crate) async fn publish(&self, name: &ModelName) -> Result<Manifest> {
        let Learned { state, validation } = self.learned().await?;
        let decision = validation.decision(&self.record.definition);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            name: name.clone(),
            run: self.record.run.clone(),
            created_unix_ms: unix_ms(),
            definition: self.record.definition.clone(),
            threshold: decision.map(|decision| decision.threshold),
            threshold_range: decision.and_then(|decision| decision.range),
            calibration: validation.calibration(&self.record.definition),
            validation: validation.report(&self.record.definition),
            best_epoch: self.record.best_epoch.unwrap_or(0),
            epochs: self.record.epochs.clone(),
            data: self.record.data.clone(),
            uses: uses_of_run(&self.request, &validation, &self.record.definition).await,
            transfer: self.record.transfer.clone(),
            parameters: state.parameters() as u64,
            weights: self.context.store.write_weights(name, &state).await?,
            tusk_version: env!("CARGO_PKG_VERSION").to_owned(),
            members: Vec::new(),
            adapted: Vec::new(),
        };
        self.context.store.publish(&manifest).await?;
        Ok(manifest)
    }
}
