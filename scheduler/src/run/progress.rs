//! What comes after an epoch: pure decisions, apart from the jobs that feed them.

use tusk_core::manifest::EpochReport;
use tusk_core::options::ModelSpec;

/// How good an epoch is: lower is better.
///
/// The validation loss, as in Keras; the training loss where nothing is held out.
pub(crate) fn score(epoch: &EpochReport) -> f64 {
    epoch.val_loss.unwrap_or(epoch.train_loss)
}

/// The best epoch so far; of equals, the first. Of a fold it is the last: the rows on which the fold is tested must not
/// choose its epoch.
pub(crate) fn best<'a>(spec: &ModelSpec, epochs: &'a [EpochReport]) -> Option<&'a EpochReport> {
    match spec.split.fold {
        Some(_) => epochs.last(),
        None => epochs.iter().min_by(|a, b| score(a).total_cmp(&score(b))),
    }
}

/// Whether another epoch follows.
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
    fn without_held_out_rows_the_training_loss_decides() {
        let mut history = epochs(&[0.1, 0.2]);
        history.iter_mut().for_each(|e| e.val_loss = None);
        history[1].train_loss = 0.5;
        assert_eq!(best(&ModelSpec::new(Architecture::CNN), &history).map(|e| e.epoch), Some(2));
    }

    #[test]
    fn of_a_fold_the_last_epoch_counts() {
        let mut spec = ModelSpec::new(Architecture::CNN);
        spec.split.folds = Some(5);
        spec.training.patience = 1;
        let history = epochs(&[0.1, 0.2, 0.3]);
        assert_eq!(best(&spec.of_fold(2), &history).map(|e| e.epoch), Some(3));
        assert!(goes_on(&spec.of_fold(2), &history), "a fold never stops early");
    }
}
