//! The parts of a run that consists of runs: the folds of a cross-validation, or the trials of a search.

use tusk_core::ids::ModelName;
use tusk_core::manifest::{EpochReport, PartRecord, RunRecord};
use tusk_core::options::Objective;
use tusk_core::store::ModelStore;

use crate::error::Result;

/// How far a part is by the record of its run.
pub(crate) fn progress_of(part: &mut PartRecord, record: &RunRecord, objective: Objective) {
    part.epochs = record.epochs.last().map_or(0, |epoch| epoch.epoch);
    part.seconds = record.epochs.iter().map(|epoch| epoch.seconds).sum();
    let best = record.best_epoch.and_then(|best| record.epochs.iter().find(|epoch| epoch.epoch == best));
    part.objective = best.and_then(|epoch| value(objective, epoch));
}

/// What an epoch is compared by.
fn value(objective: Objective, epoch: &EpochReport) -> Option<f64> {
    match objective {
        Objective::RocAuc => epoch.val_roc_auc,
        Objective::Accuracy => epoch.val_accuracy,
        Objective::Loss => epoch.val_loss,
    }
}

/// Removes the runs that a run is made of.
pub(crate) async fn drop_parts(store: &ModelStore, record: &RunRecord) -> Result<()> {
    for part in part_names(record) {
        store.drop_model(&part).await?;
    }
    Ok(())
}

/// The names of the runs that a run is made of.
pub(crate) fn part_names(record: &RunRecord) -> Vec<ModelName> {
    record.parts.iter().filter_map(|part| record.model.part(&part.name).ok()).collect()
}
