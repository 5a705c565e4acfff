//! Which rows are held out, and which options of that go together.

use super::{Architecture, Mode, ModelSpec, OPTIONS};
use crate::error::{Error, Result};
use crate::random;

impl ModelSpec {
    /// Whether the row or group with this hash is held out for validation.
    #[must_use]
    pub fn is_held_out(&self, key: u64) -> bool {
        match (self.fold, self.folds) {
            (Some(fold), Some(folds)) => random::fold_of(self.seed, key, folds) == fold,
            _ => random::is_held_out(self.seed, key, self.validation_fraction),
        }
    }

    /// Whether rows of the training table are held out at all.
    #[must_use]
    pub fn holds_out(&self) -> bool {
        self.fold.is_some() || self.validation_fraction > 0.0
    }

    /// The parts of a run that is made of several: the word for each, and how many there are.
    #[must_use]
    pub fn parts(&self) -> Option<(&'static str, u32)> {
        match self.folds {
            Some(folds) if self.fold.is_none() => Some(("fold", folds)),
            _ if !self.search.space.is_empty() => Some(("trial", self.trials())),
            _ => None,
        }
    }

    /// The spec of the net that holds this fold out.
    #[must_use]
    pub fn of_fold(&self, fold: u32) -> Self {
        Self { fold: Some(fold), ..self.clone() }
    }
}

/// The options of an ensemble: its nets keep their own.
const ENSEMBLE: [&str; 5] = ["members", "image", "label", "group", "threshold"];

/// Refuses folds where they cannot be, members of what is no ensemble, and what an ensemble has from its members.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: &str| Err(Error::ConflictingOptions { message: message.to_owned() });
    match (spec.architecture, spec.members.is_empty()) {
        (Architecture::Ensemble, true) => {
            return refuse("an ensemble is made of models: OPTIONS (members = 'a, b, c')");
        }
        (Architecture::Ensemble, false) => {
            let theirs = |name: &&str| !ENSEMBLE.contains(name) && is_given(name);
            if let Some(name) = OPTIONS.iter().map(|def| def.name).chain(["resume"]).find(theirs) {
                return Err(Error::ConflictingOptions {
                    message: format!(
                        "{name} is not for an ensemble: its nets stay as they were trained; it takes {}",
                        ENSEMBLE.join(", ")
                    ),
                });
            }
        }
        (_, false) => return refuse("members are for an ensemble; write USING ensemble, or leave members out"),
        (_, true) => {}
    }
    if spec.folds.is_some() {
        if let Some(name) = ["validation_fraction", "early_stop", "patience"].into_iter().find(|name| is_given(name)) {
            return Err(Error::ConflictingOptions {
                message: format!(
                    "{name} is not for folds: each fold is held out once, and decides nothing about the net that is \
                     tested on it; leave one of them out"
                ),
            });
        }
        if spec.mode != Mode::Synchronous {
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
    use crate::spec::{OptionValue, parse};

    #[test]
    fn every_row_is_held_out_by_one_fold() {
        let spec = ModelSpec { folds: Some(5), ..ModelSpec::new(Architecture::CNN) };
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
    fn what_folds_and_ensembles_cannot_be_is_refused() {
        let refusal = |architecture, options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(architecture, &options).map(|(spec, _)| spec.folds).unwrap_err().to_string()
        };
        let message = refusal(Architecture::CNN, &[("folds", 5_u64.into()), ("early_stop", true.into())]);
        assert!(message.starts_with("early_stop is not for folds: each fold is held out once"), "{message}");
        let message = refusal(Architecture::CNN, &[("folds", 5_u64.into()), ("mode", "hogwild".into())]);
        assert!(message.starts_with("folds are for mode 'synchronous'"), "{message}");
        let message = refusal(Architecture::CNN, &[("members", "a,b".into())]);
        assert!(message.starts_with("members are for an ensemble"), "{message}");
        let message = refusal(Architecture::Ensemble, &[]);
        assert_eq!(message, "an ensemble is made of models: OPTIONS (members = 'a, b, c')");
        for (name, value) in [("tta", 4_u64.into()), ("positive", "A".into()), ("resume", true.into())] {
            let message = refusal(Architecture::Ensemble, &[("members", "a,b".into()), (name, value)]);
            assert!(message.starts_with(&format!("{name} is not for an ensemble: ")), "{message}");
            assert!(message.ends_with("it takes members, image, label, group, threshold"), "{message}");
        }
        let given = [("members", "a,b"), ("image", "i"), ("label", "l"), ("group", "g")];
        let mut given: Vec<_> = given.map(|(key, value)| (key.to_owned(), OptionValue::from(value))).to_vec();
        given.push(("threshold".to_owned(), 0.5.into()));
        assert!(parse(Architecture::Ensemble, &given).is_ok());
    }
}
