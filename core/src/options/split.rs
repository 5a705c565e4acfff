//! Options of validation: which rows are held out, and which options of that go together.

use super::accepts::{Number, Quoted, Unset, Whole};
use super::declare::options;
use super::{ModelSpec, OnLeak};
use crate::error::{Error, Result};
use crate::random;

options! {
    /// Which rows are held out.
    "Split" split: SplitOptions {
        /// Fraction of the rows held out; of the groups, where there are groups.
        validation_fraction: f64 = 0.1, Number::From(0.0, 0.9), [Fixed];
        /// Parts of the rows, each held out once by a net of its own; the model is the mean of these nets, and its figures
        /// are out of fold.
        folds: Option<u32> = None, Unset("none", Whole::Within(2, 20)), before None, [Fixed];
        /// What becomes of training rows that are among the validation rows, too: by content, by look, or by group.
        on_leak: OnLeak = OnLeak::Warn, Quoted, before OnLeak::Warn, [Fixed];
    }
    beside {
        /// Which of the folds this net holds out, from 0.
        fold: Option<u32> = None, before None;
    }
}

impl ModelSpec {
    /// Whether the row or group with this hash is held out for validation.
    #[must_use]
    pub fn is_held_out(&self, key: u64) -> bool {
        match (self.split.fold, self.split.folds) {
            (Some(fold), Some(folds)) => random::fold_of(self.training.seed, key, folds) == fold,
            _ => random::is_held_out(self.training.seed, key, self.split.validation_fraction),
        }
    }

    /// Whether rows of the training table are held out at all.
    #[must_use]
    pub fn holds_out(&self) -> bool {
        self.split.fold.is_some() || self.split.validation_fraction > 0.0
    }

    /// The parts of a run that is made of several: the word for each, and how many there are.
    #[must_use]
    pub fn parts(&self) -> Option<(&'static str, u32)> {
        match self.split.folds {
            Some(folds) if self.split.fold.is_none() => Some(("fold", folds)),
            _ if !self.search.space.is_empty() => Some(("trial", self.trials())),
            _ => None,
        }
    }

    /// The spec of the net that holds this fold out.
    #[must_use]
    pub fn of_fold(&self, fold: u32) -> Self {
        self.clone().with(|spec| spec.split.fold = Some(fold))
    }
}

/// Refuses folds where they cannot be.
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
            return refuse("folds are for mode 'synchronous'; leave one of them out");
        }
        if !spec.search.space.is_empty() {
            return refuse("a search and folds are two statements: search first, then train the best options in folds");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Architecture, OptionValue, parse};

    #[test]
    fn every_row_is_held_out_by_one_fold() {
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
    fn what_folds_cannot_be_is_refused() {
        let refusal = |options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(Architecture::CNN, &options).map(|(spec, _)| spec.split.folds).unwrap_err().to_string()
        };
        let message = refusal(&[("folds", 5_u64.into()), ("early_stop", true.into())]);
        assert!(message.starts_with("early_stop is not for folds: each fold is held out once"), "{message}");
        let message = refusal(&[("folds", 5_u64.into()), ("mode", "hogwild".into())]);
        assert!(message.starts_with("folds are for mode 'synchronous'"), "{message}");
    }
}
