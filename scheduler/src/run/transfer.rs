//! The starting weights of a run: those of another model, or of a file.

use tusk_core::event::RunEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::FileRef;
use tusk_core::state::ModelState;
use tusk_core::store::read_weights;

use super::training::Run;
use crate::error::Result;

impl Run {
    /// Writes the first checkpoint, if the spec names starting weights. After that, the run does not depend on a model
    /// or file that can change.
    pub(super) async fn transfer(&mut self) -> Result<()> {
        let spec = &self.request.spec;
        let (from, file) = match (&spec.start.warm_start, &spec.start.weights) {
            (Some(name), _) => (format!("model '{name}'"), self.published_weights(name).await?),
            (None, Some(location)) => (format!("'{location}'"), self.foreign_weights(location).await?),
            (None, None) => return Ok(()),
        };
        let (state, transfer) = self.fit_weights(&file).await?;
        if transfer.is_empty() {
            let architecture = spec.architecture;
            let message = format!(
                "no tensor of {from} fits {architecture}: {transfer}; the tensors must have torchvision's names for \
                 {architecture}"
            );
            return Err(tusk_core::Error::Data { message }.into());
        }
        let store = &self.context.store;
        let file = store.write_checkpoint(&self.record.model, 0, &state).await?;
        store.keep_checkpoints(&self.record.model, &[&file]).await?;
        self.record.last = Some(file);
        self.record.transfer = Some(transfer.clone());
        self.emit(RunEvent::Transferred { from, transfer });
        Ok(())
    }

    async fn published_weights(&self, name: &ModelName) -> Result<FileRef> {
        let manifest = self.context.store.manifest(name).await?;
        if !manifest.members.is_empty() {
            let message =
                format!("warm_start = '{name}' has {} nets; choose a model with one net", manifest.members.len());
            return Err(tusk_core::Error::ConflictingOptions { message }.into());
        }
        let (theirs, ours) = (&manifest.definition, &self.record.definition);
        if (theirs.spec.architecture, theirs.preprocessing.channels)
            != (ours.spec.architecture, ours.preprocessing.channels)
        {
            let message = format!(
                "warm_start = '{name}' is a {} with {} channels, but this model is a {} with {}; they must be equal",
                theirs.spec.architecture,
                theirs.preprocessing.channels,
                ours.spec.architecture,
                ours.preprocessing.channels
            );
            return Err(tusk_core::Error::ConflictingOptions { message }.into());
        }
        Ok(manifest.weights)
    }

    async fn foreign_weights(&self, location: &str) -> Result<FileRef> {
        let bytes = read_weights(location).await?;
        let shown = location.to_owned();
        let read = tokio::task::spawn_blocking(move || ModelState::from_foreign_safetensors(&shown, &bytes)).await;
        let failed = |e: tokio::task::JoinError| tusk_core::Error::Data { message: format!("reading weights: {e}") };
        let state = read.map_err(failed)??;
        Ok(self.context.store.write_part(&self.record.model, 0, 0, &state).await?)
    }
}
