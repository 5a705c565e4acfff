//! The decisions after an epoch: which epoch is best, and whether another one follows. They are pure functions.

use tusk_core::manifest::EpochReport;
use tusk_core::options::ModelSpec;

/// Returns the score of an epoch. Lower is better.
///
/// It is the validation loss, as in Keras, or the training loss if there are no validation rows.
pub(crate) fn score(epoch: &EpochReport) -> f64 {
    epoch.val_loss.unwrap_or(epoch.train_loss)
}

/// Returns the best epoch so far, and the first of equal ones. For a fold it is the last epoch, because the rows that
/// test the fold must not choose its epoch.
pub(crate) fn best<'a>(spec: &ModelSpec, epochs: &'a [EpochReport]) -> Option<&'a EpochReport> {
    match spec.split.fold {
        Some(_) => epochs.last(),
        None => epochs.iter().min_by(|a, b| score(a).total_cmp(&score(b))),
    }
}

/// Returns whether another epoch follows.
pub(crate) fn goes_on(spec: &ModelSpec, epochs: &[EpochReport]) -> bool {
    let done = epochs.last().map_or(0, |epoch| epoch.epoch);
    if done >= spec.training.epochs {
        return false;
    }
    let since_best = best(spec, epochs).map_or(0, |best| done - best.epoch);
    !(spec.training.early_stop && since_best >= spec.training.patience)
}

#[cfg(test)]
mod tests {
    use tusk_core::manifest::Timing;
    use tusk_core::options::Architecture;

    use super::*;

    fn epochs(losses: &[f64]) -> Vec<EpochReport> {
        let report = |(loss, epoch)| EpochReport {
            epoch,
            train_loss: 1.0,
            val_loss: Some(loss),
            val_accuracy: None,
            val_roc_auc: None,
            learning_rate: 0.1,
            images: 1,
            skipped: 0,
            workers: 1,
            child: None,
            decoded: 0,
            seconds: 1.0,
            timing: Timing::default(),
        };
        losses.iter().copied().zip(1..).map(report).collect()
    }

    #[test]
    fn a_run_stops_when_patience_ends_and_keeps_its_best_epoch() {
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.training.patience = 2);
        let history = epochs(&[0.5, 0.3, 0.4, 0.35]);
        assert_eq!(best(&spec, &history).map(|e| e.epoch), Some(2));
        assert!(goes_on(&spec, &history[..3]));
        assert!(!goes_on(&spec, &history));
        assert!(goes_on(&spec.with(|spec| spec.training.early_stop = false), &history));
    }

    #[test]
    fn a_run_ends_with_its_last_epoch() {
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.training.epochs = 3);
        assert!(goes_on(&spec, &[]));
        assert!(goes_on(&spec, &epochs(&[3.0, 2.0])));
        assert!(!goes_on(&spec, &epochs(&[3.0, 2.0, 1.0])));
    }

    #[test]
    fn without_validation_rows_the_training_loss_decides() {
        let mut history = epochs(&[0.1, 0.2]);
        history.iter_mut().for_each(|e| e.val_loss = None);
        history[1].train_loss = 0.5;
        assert_eq!(best(&ModelSpec::new(Architecture::CNN), &history).map(|e| e.epoch), Some(2));
    }

    #[test]
    fn the_best_epoch_of_a_fold_is_its_last() {
        let mut spec = ModelSpec::new(Architecture::CNN);
        spec.split.folds = Some(5);
        spec.training.patience = 1;
        let history = epochs(&[0.1, 0.2, 0.3]);
        assert_eq!(best(&spec.of_fold(2), &history).map(|e| e.epoch), Some(3));
        assert!(goes_on(&spec.of_fold(2), &history), "a fold never stops early");
    }
}
