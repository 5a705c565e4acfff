//! Options of a search, and the option values of each trial.

use serde::{Deserialize, Serialize};

use super::accepts::{Quoted, Whole};
use super::declare::options;
use super::set::set;
use super::{Architecture, ModelSpec, Objective, OptionDef, OptionValue, SearchStrategy, distribution, input, start};
use crate::error::{Error, Result};
use crate::random::derive;

/// Maximum number of trials of a search.
const TRIALS_MAX: u32 = 1000;

/// A range whose bounds differ by at least this factor is searched on a logarithmic scale.
const LOGARITHMIC_FROM: f64 = 10.0;

options! {
    /// How a search chooses and compares trials. A search is a statement in which an option is range(low, high) or
    /// candidates(a, b, ...).
    "Search" search: SearchOptions {
        /// How trials are chosen.
        strategy as "search": SearchStrategy = SearchStrategy::Random, Quoted, [Fixed];
        /// Maximum number of trials; a grid has one trial per combination.
        trials: u32 = 16, Whole::Within(1, TRIALS_MAX), [Fixed];
        /// Number of trials that run at the same time.
        parallel_trials: u32 = 1, Whole::Within(1, 100), [Fixed];
        /// Metric of the validation rows that compares trials.
        objective: Objective = Objective::RocAuc, Quoted, [Fixed];
    }
    beside {
        /// The searched options. Empty if there is no search.
        space: Vec<Dimension> = Vec::new();
    }
}

/// A searched option and its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// The option.
    pub option: String,
    /// Its values.
    pub values: Values,
}

/// The values of a searched option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Any number from the first to the second. Whole numbers if both bounds are whole numbers.
    Range(String, String),
    /// One of the given values.
    Candidates(Vec<OptionValue>),
}

impl Values {
    /// Returns the value at a position in [0, 1).
    fn at(&self, place: f64) -> OptionValue {
        match self {
            Self::Candidates(values) => {
                let index = (place * values.len() as f64) as usize;
                values.get(index).or(values.last()).cloned().unwrap_or(OptionValue::Bool(false))
            }
            Self::Range(low, high) => {
                let is_whole = [low, high].into_iter().all(|bound| bound.bytes().all(|b| b.is_ascii_digit()));
                let (low, high): (f64, f64) = (low.parse().unwrap_or(0.0), high.parse().unwrap_or(0.0));
                // All whole numbers are equally likely.
                let high = if is_whole { high + 1.0 } else { high };
                let number = if low > 0.0 && high / low >= LOGARITHMIC_FROM {
                    low * (high / low).powf(place)
                } else {
                    low + (high - low) * place
                };
                if is_whole {
                    return OptionValue::Number((number as u64).to_string());
                }
                // Four digits are precise enough and readable.
                let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
                OptionValue::from(rounded.clamp(low, high))
            }
        }
    }

    /// Returns the values to check: the bounds, or every candidate.
    fn bounds(&self) -> Vec<OptionValue> {
        match self {
            Self::Candidates(values) => values.clone(),
            Self::Range(low, high) => vec![OptionValue::Number(low.clone()), OptionValue::Number(high.clone())],
        }
    }
}

impl ModelSpec {
    /// Returns the number of trials.
    #[must_use]
    pub fn trials(&self) -> u32 {
        let SearchOptions { strategy, trials, space, .. } = &self.search;
        if *strategy != SearchStrategy::Grid {
            return *trials;
        }
        let combinations = space.iter().fold(1_usize, |all, dimension| match &dimension.values {
            Values::Candidates(values) => all.saturating_mul(values.len()),
            Values::Range(..) => all,
        });
        u32::try_from(combinations).unwrap_or(u32::MAX)
    }

    /// Returns the options of a trial. Trials are numbered from 0.
    #[must_use]
    pub fn trial_options(&self, trial: u32) -> Vec<(String, OptionValue)> {
        let mut rest = trial as usize;
        let value = |(place, dimension): (usize, &Dimension)| {
            let value = match (&dimension.values, self.search.strategy) {
                (Values::Candidates(values), SearchStrategy::Grid) => {
                    let index = rest % values.len().max(1);
                    rest /= values.len().max(1);
                    values[index].clone()
                }
                (values, _) => {
                    let bits = derive(self.training.seed, "trial", &[u64::from(trial), place as u64]) >> 11;
                    values.at(bits as f64 / (1_u64 << 53) as f64)
                }
            };
            (dimension.option.clone(), value)
        };
        self.search.space.iter().enumerate().map(value).collect()
    }

    /// Returns the spec of a trial.
    ///
    /// # Errors
    /// As [`super::parse`].
    pub fn of_trial(&self, trial: u32) -> Result<Self> {
        let mut spec = Self { search: SearchOptions::default(), ..self.clone() };
        for (option, value) in self.trial_options(trial) {
            set(&mut spec, &option, &value)?;
        }
        Ok(spec)
    }

    /// Checks the values of an option and adds it to the search.
    pub(super) fn search_for(&mut self, def: &OptionDef, values: Values) -> Result<()> {
        let refuse = |message: String| Err(Error::ConflictingOptions { message });
        let option = def.name;
        if !def.is_searchable() {
            return refuse(format!("{option} cannot be searched; give it one value"));
        }
        let is_ordered = match &values {
            Values::Range(low, high) => low.parse::<f64>().ok() < high.parse::<f64>().ok(),
            Values::Candidates(values) => !values.is_empty(),
        };
        if !is_ordered {
            return refuse(format!(
                "{option} has no values to search; write range(low, high) with low < high, or candidates(a, b, ...)"
            ));
        }
        for value in values.bounds() {
            set(&mut self.clone(), option, &value)?;
        }
        self.search.space.push(Dimension { option: option.to_owned(), values });
        Ok(())
    }
}

/// Returns an error if the search options are invalid.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: String| Err(Error::ConflictingOptions { message });
    let SearchOptions { strategy, space, .. } = &spec.search;
    if space.is_empty() {
        return match GROUP.options.iter().map(|def| def.name).find(|name| is_given(name)) {
            Some(name) => refuse(format!(
                "{name} is for a search, and no option is searched: give one as range(low, high) or \
                 candidates(a, b, ...)"
            )),
            None => Ok(()),
        };
    }
    if spec.architecture == Architecture::Ensemble {
        return refuse("an ensemble is not trained, so there is nothing to search".to_owned());
    }
    let is_searched = |name: &str| space.iter().any(|dimension| dimension.option == name);
    if spec.search.objective == Objective::Loss
        && let Some(name) = ["loss", "class_weights"].into_iter().find(|name| is_searched(name))
    {
        return refuse(format!(
            "losses of trials that differ in {name} cannot be compared; choose objective = 'roc_auc' or 'accuracy'"
        ));
    }
    match strategy {
        SearchStrategy::Halving if !spec.distribution.mode.takes_mean() => {
            return refuse("search = 'halving' requires mode 'synchronous'; choose 'random'".to_owned());
        }
        SearchStrategy::Grid => {
            if let Some(dimension) = space.iter().find(|dimension| matches!(dimension.values, Values::Range(..))) {
                return refuse(format!(
                    "search = 'grid' requires candidates, and {} is a range; write candidates(a, b, ...)",
                    dimension.option
                ));
            }
            if spec.trials() > TRIALS_MAX {
                return refuse(format!("the grid has {} trials; the maximum is {TRIALS_MAX}", spec.trials()));
            }
        }
        _ => {}
    }
    for trial in 0..spec.trials() {
        let checked = spec.of_trial(trial).and_then(|spec| {
            distribution::check(&spec, |name| is_given(name) && !is_searched(name))?;
            input::check(&spec)?;
            start::check(&spec)
        });
        if let Err(error) = checked {
            return refuse(format!("trial {} is invalid: {error}", trial + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn asked(options: &[(&str, OptionValue)]) -> Result<ModelSpec> {
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        parse(Architecture::CNN, &options).map(|(spec, _)| spec)
    }

    fn range(low: &str, high: &str) -> OptionValue {
        OptionValue::Range(low.into(), high.into())
    }

    #[test]
    fn the_seed_decides_the_options_of_trials() {
        let spec = asked(&[
            ("learning_rate", range("1e-4", "1e-2")),
            ("batch_size", range("16", "18")),
            ("augment", OptionValue::Candidates(vec!["none".into(), "xray".into()])),
            ("trials", 200_u64.into()),
        ])
        .unwrap();
        let trials: Vec<ModelSpec> = (0..spec.trials()).map(|trial| spec.of_trial(trial).unwrap()).collect();
        assert_eq!(trials[7], spec.of_trial(7).unwrap());
        assert!(
            trials
                .iter()
                .all(|trial| (1e-4..=1e-2).contains(&trial.optimizer.learning_rate) && trial.search.space.is_empty())
        );
        // On a logarithmic scale, half of the draws fall into the lowest tenth of the range.
        let small = trials.iter().filter(|trial| trial.optimizer.learning_rate < 1e-3).count();
        assert!((80..120).contains(&small), "{small}");
        for size in 16..=18 {
            let drawn = trials.iter().filter(|trial| trial.training.batch_size == size).count();
            assert!((45..90).contains(&drawn), "{drawn} of {size}");
        }
        let plain = trials.iter().filter(|trial| trial.input.augment.is_none()).count();
        assert!((75..125).contains(&plain), "{plain}");
        let other = asked(&[("learning_rate", range("1e-4", "1e-2")), ("seed", 7_u64.into())]).unwrap();
        assert_ne!(other.of_trial(0).unwrap().optimizer.learning_rate, trials[0].optimizer.learning_rate);
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let numbers = |values: &[u64]| OptionValue::Candidates(values.iter().map(|v| (*v).into()).collect());
        let spec =
            asked(&[("batch_size", numbers(&[8, 16, 32])), ("epochs", numbers(&[1, 2])), ("search", "grid".into())])
                .unwrap();
        assert_eq!(spec.trials(), 6);
        let mut seen: Vec<(u32, u32)> = (0..6)
            .map(|trial| spec.of_trial(trial).unwrap())
            .map(|trial| (trial.training.batch_size, trial.training.epochs))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [(8, 1), (8, 2), (16, 1), (16, 2), (32, 1), (32, 2)]);
    }

    #[test]
    fn an_invalid_search_is_refused_before_training() {
        let refusal = |options: &[(&str, OptionValue)]| asked(options).unwrap_err().to_string();
        let message = refusal(&[("label", OptionValue::Candidates(vec!["a".into()]))]);
        assert_eq!(message, "label cannot be searched; give it one value");
        let message = refusal(&[("optimizer", OptionValue::Candidates(vec!["sgd".into(), "adamm".into()]))]);
        assert!(message.contains("did you mean 'adam'?"), "{message}");
        let message = refusal(&[("learning_rate", range("1e-2", "1e-4"))]);
        assert!(message.starts_with("learning_rate has no values to search"), "{message}");
        let message = refusal(&[("learning_rate", range("1e-4", "1e-2")), ("search", "grid".into())]);
        assert!(message.starts_with("search = 'grid' requires candidates"), "{message}");
        let message = refusal(&[("trials", 4_u64.into())]);
        assert!(message.starts_with("trials is for a search, and no option is searched"), "{message}");
        assert!(refusal(&[("seed", range("1", "9"))]).starts_with("seed cannot be searched"));
        let message = refusal(&[("image_size", range("96", "256"))]);
        assert!(message.starts_with("trial 1 is invalid: ") && message.contains("a multiple of 32"), "{message}");
        let words = |words: &[&str]| OptionValue::Candidates(words.iter().map(|word| (*word).into()).collect());
        let message = refusal(&[("freeze", words(&["backbone", "none"])), ("search", "grid".into())]);
        assert!(message.starts_with("trial 1 is invalid: freeze = 'backbone'"), "{message}");
        let losses = words(&["binary_crossentropy", "mean_squared_error"]);
        let message = refusal(&[("loss", losses), ("objective", "loss".into())]);
        assert!(message.starts_with("losses of trials that differ in loss cannot be compared"), "{message}");
        let outer = [("outer_optimizer", words(&["average", "momentum"])), ("outer_momentum", range("0.1", "0.9"))];
        assert!(asked(&outer).is_ok(), "an option that only some trials use");
        let message = refusal(&[("folds", 3_u64.into()), ("epochs", range("1", "9"))]);
        assert!(message.starts_with("a search and folds exclude each other"), "{message}");
    }
}
