//! The child runs of a run: the folds of a cross-validation, or the trials of a search.

use tusk_core::ids::ModelName;
use tusk_core::manifest::{ChildRun, EpochReport, RunRecord};
use tusk_core::options::Objective;
use tusk_core::store::ModelStore;

use crate::error::Result;

/// Copies the progress of a child run from the record of that run.
pub(crate) fn progress_of(child: &mut ChildRun, record: &RunRecord, objective: Objective) {
    child.epochs = record.epochs.last().map_or(0, |epoch| epoch.epoch);
    child.seconds = record.epochs.iter().map(|epoch| epoch.seconds).sum();
    let best = record.best_epoch.and_then(|best| record.epochs.iter().find(|epoch| epoch.epoch == best));
    child.objective = best.and_then(|epoch| value(objective, epoch));
}

/// Returns the value of the objective in an epoch.
fn value(objective: Objective, epoch: &EpochReport) -> Option<f64> {
    match objective {
        Objective::RocAuc => epoch.val_roc_auc,
        Objective::Accuracy => epoch.val_accuracy,
        Objective::Loss => epoch.val_loss,
    }
}

/// Removes the child runs of a run.
pub(crate) async fn drop_children(store: &ModelStore, record: &RunRecord) -> Result<()> {
    for child in child_names(record) {
        store.drop_model(&child).await?;
    }
    Ok(())
}

/// Returns the names of the child runs of a run.
pub(crate) fn child_names(record: &RunRecord) -> Vec<ModelName> {
    record.children.iter().filter_map(|child| record.model.child(&child.name).ok()).collect()
}
