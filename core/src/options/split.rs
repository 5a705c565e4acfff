//! Options of the split, and the checks of their combinations.

use super::accepts::{Number, Quoted, Unset, Whole};
use super::declare::options;
use super::{ModelSpec, OnLeak};
use crate::error::{Error, Result};
use crate::random;

options! {
    /// Which rows are held out for validation.
    "Split" split: SplitOptions {
        /// Fraction of the rows held out, or of the groups if there are groups.
        validation_fraction: f64 = 0.1, Number::From(0.0, 0.9), [Fixed];
        /// Number of folds of cross-validation. The model is an ensemble of one net per fold, and its metrics are
        /// out-of-fold.
        folds: Option<u32> = None, Unset("none", Whole::Within(2, 20)), before None, [Fixed];
        /// What to do with leaks: training rows that are also among the validation rows, by content hash, perceptual
        /// hash or group.
        on_leak: OnLeak = OnLeak::Warn, Quoted, before OnLeak::Warn, [Fixed];
    }
    beside {
        /// The fold that this net holds out, from 0.
        fold: Option<u32> = None, before None;
    }
}

impl ModelSpec {
    /// Returns whether the row or group with this split key is held out for validation.
    #[must_use]
    pub fn is_held_out(&self, key: u64) -> bool {
        match (self.split.fold, self.split.folds) {
            (Some(fold), Some(folds)) => random::fold_of(self.training.seed, key, folds) == fold,
            _ => random::is_held_out(self.training.seed, key, self.split.validation_fraction),
        }
    }

    /// Returns whether any rows of the training table are held out.
    #[must_use]
    pub fn holds_out(&self) -> bool {
        self.split.fold.is_some() || self.split.validation_fraction > 0.0
    }

    /// Returns the word for a child run and their number, if the run has any.
    #[must_use]
    pub fn children(&self) -> Option<(&'static str, u32)> {
        match self.split.folds {
            Some(folds) if self.split.fold.is_none() => Some(("fold", folds)),
            _ if !self.search.space.is_empty() => Some(("trial", self.trials())),
            _ => None,
        }
    }

    /// Returns the spec of the net that holds out this fold.
    #[must_use]
    pub fn of_fold(&self, fold: u32) -> Self {
        self.clone().with(|spec| spec.split.fold = Some(fold))
    }
}

/// Returns an error if folds are combined with options that exclude them.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: &str| Err(Error::ConflictingOptions { message: message.to_owned() });
    if spec.split.folds.is_some() {
        if let Some(name) = ["validation_fraction", "early_stop", "patience"].into_iter().find(|name| is_given(name)) {
            return Err(Error::ConflictingOptions {
                message: format!(
                    "{name} is not for folds: each fold is held out once, and decides nothing about the net that is \
                     tested on it; leave one of them out"
                ),
            });
        }
        if !spec.distribution.mode.takes_mean() {
            return refuse("folds require mode 'synchronous'; leave one of them out");
        }
        if !spec.search.space.is_empty() {
            return refuse(
                "a search and folds exclude each other; search first, then train the best options with folds",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Architecture, OptionValue, parse};

    #[test]
    fn every_row_is_held_out_by_exactly_one_fold() {
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.split.folds = Some(5));
        assert!(spec.of_fold(0).holds_out());
        let mut sizes = [0; 5];
        for key in 0..5_000 {
            let by: Vec<u32> = (0..5).filter(|fold| spec.of_fold(*fold).is_held_out(key)).collect();
            let [fold] = by[..] else { panic!("row {key} is held out by {by:?}") };
            sizes[fold as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (900..1100).contains(size)), "{sizes:?}");
    }

    #[test]
    fn invalid_options_of_folds_are_refused() {
        let refusal = |options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(Architecture::CNN, &options).map(|(spec, _)| spec.split.folds).unwrap_err().to_string()
        };
        let message = refusal(&[("folds", 5_u64.into()), ("early_stop", true.into())]);
        assert!(message.starts_with("early_stop is not for folds: each fold is held out once"), "{message}");
        let message = refusal(&[("folds", 5_u64.into()), ("mode", "hogwild".into())]);
        assert!(message.starts_with("folds require mode 'synchronous'"), "{message}");
    }
}
