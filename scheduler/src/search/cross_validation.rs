//! Cross-validation: every row is held out from the training of one net, and the model is the ensemble of the nets.

use tusk_core::manifest::{ChildStatus, FORMAT_VERSION, Leak, Manifest, Member, ModelDefinition};
use tusk_core::state::ModelState;

use super::CompositeRun;
use crate::error::Result;
use crate::run::children::progress_of;
use crate::run::{Learned, Run, Validation, unix_ms, uses_of_run};

impl CompositeRun {
    /// Trains one net per fold, one after another, so that each can use the whole cluster.
    pub(super) async fn train_folds(&self) -> Result<Manifest> {
        let spec = &self.request.spec;
        let mut folds = Vec::new();
        for (index, fold) in (0..spec.split.folds.unwrap_or(0)).enumerate() {
            self.note(index, |child| child.status = ChildStatus::Running).await?;
            let mut run = self.child(index, spec.of_fold(fold)).await?;
            run.learn(u32::MAX).await?;
            run.finish().await?;
            self.note(index, |child| {
                progress_of(child, run.record(), spec.search.objective);
                child.status = ChildStatus::Finished;
            })
            .await?;
            folds.push(run);
        }
        self.publish_folds(&folds).await
    }

    /// Publishes the ensemble. The threshold, the calibration and all metrics are computed from out-of-fold scores:
    /// each row is scored by the net that has not seen it.
    async fn publish_folds(&self, folds: &[Run]) -> Result<Manifest> {
        let (mut states, mut validations, mut members, mut epochs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (run, child) in folds.iter().zip(self.children().await) {
            let Learned { state, validation } = run.learned().await?;
            states.push(state.as_member(&child.name));
            validations.push(validation);
            members.push(Member { name: child.name, definition: run.record().definition.clone() });
            epochs.extend(run.record().epochs.iter().cloned());
        }
        let Some(first) = folds.first().map(Run::record) else {
            let message = "there are no folds to publish".to_owned();
            return Err(tusk_core::Error::Data { message }.into());
        };
        let definition = ModelDefinition {
            spec: first.definition.spec.clone().with(|spec| spec.split.fold = None),
            ..first.definition.clone()
        };
        let mut data = first.data.clone();
        // Every row is held out once.
        data.val_rows = folds.iter().flat_map(|run| &run.record().data.val_rows).fold(
            std::collections::BTreeMap::new(),
            |mut all, (class, rows)| {
                *all.entry(class.clone()).or_default() += rows;
                all
            },
        );
        data.train_rows = data.val_rows.clone();
        data.leak = folds.iter().filter_map(|run| run.record().data.leak).reduce(Leak::and);
        let validation = Validation::together(validations);
        let decision = validation.decision(&definition);
        let uses = uses_of_run(&self.request, &validation, &definition).await;
        let state = ModelState::together(states);
        let name = &self.request.name;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            name: name.clone(),
            run: self.id().clone(),
            created_unix_ms: unix_ms(),
            threshold: decision.map(|decision| decision.threshold),
            threshold_range: decision.and_then(|decision| decision.range),
            calibration: validation.calibration(&definition),
            validation: validation.report(&definition),
            definition,
            best_epoch: 0,
            epochs,
            data,
            uses,
            transfer: first.transfer.clone(),
            parameters: state.parameters() as u64,
            weights: self.context.store.write_weights(name, &state).await?,
            tusk_version: env!("CARGO_PKG_VERSION").to_owned(),
            members,
            adapted: Vec::new(),
        };
        self.context.store.publish(&manifest).await?;
        Ok(manifest)
    }
}
