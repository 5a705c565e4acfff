//! What a model uses: how far, within each class, its score follows nuisances.
//!
//! A shortcut tells the classes apart, so over all rows every good score follows it. Within a class it tells nothing, and a
//! score that still follows it was learned from it, or from something that comes with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tusk_core::manifest::{ModelDefinition, NuisanceUse, USES_MAX, sort_uses};
use tusk_core::metrics::{Interval, rank_biserial_interval, rank_correlation_interval};
use tusk_core::nuisances::{NuisanceColumn, Nuisances};
use tusk_core::protocol::TrainingRequest;

use super::validation::{BOOTSTRAP_SEED, RESAMPLES, Validation};
use crate::blocking::on_a_thread;
use crate::error::Result;

/// With fewer groups, an interval from resampling them is too narrow, and none is given.
const GROUPS_MIN: usize = 20;

/// Number of images that must have a word, and that must not have it.
const WORD_ROWS_MIN: usize = 10;

/// Maximum number of words of a nuisance that are compared: the most frequent ones.
const WORDS_MAX: usize = 20;

/// Returns the uses of the validation rows of a run, as many as a manifest takes. `None` if none of their nuisances is
/// known. An error is logged, because it must not lose a trained model.
pub(crate) async fn uses_of_run(
    request: &TrainingRequest,
    validation: &Validation,
    definition: &ModelDefinition,
) -> Option<Vec<NuisanceUse>> {
    let known = validation.known(request.nuisances.as_ref()?, definition);
    if known.rows() == 0 {
        return None;
    }
    match known.uses().await {
        Ok(mut uses) => {
            uses.truncate(USES_MAX);
            Some(uses)
        }
        Err(error) => {
            tracing::warn!(model = %request.name, %error, "the uses of nuisances were not measured");
            None
        }
    }
}

/// The rows of a class whose nuisances are known. All lists are in the same order.
#[derive(Debug, Default)]
struct Rows {
    scores: Vec<f64>,
    groups: Vec<u64>,
    /// The places of the rows in [`Nuisances`].
    places: Vec<usize>,
}

/// Scored rows whose nuisances are known, by class.
#[derive(Debug)]
pub(crate) struct KnownRows {
    classes: Vec<(String, Rows)>,
    nuisances: Arc<Nuisances>,
}

impl KnownRows {
    /// Finds the nuisances of scored rows by their content hashes. `probabilities` are rows x classes; the other lists have
    /// one element per row. Rows whose score is not a number are left out.
    pub(crate) fn new(
        (truth, probabilities): (&[usize], &[f32]),
        (groups, contents): (&[u64], &[u64]),
        nuisances: Arc<Nuisances>,
        definition: &ModelDefinition,
    ) -> Self {
        let mut classes: Vec<(String, Rows)> =
            definition.classes.iter().map(|class| (class.clone(), Rows::default())).collect();
        let mut places = HashMap::new();
        for (place, content) in nuisances.contents.iter().enumerate() {
            places.entry(*content).or_insert(place);
        }
        let scored = truth.iter().zip(probabilities.chunks_exact(classes.len().max(1)));
        for (((truth, probabilities), group), content) in scored.zip(groups).zip(contents) {
            let score = probabilities.get(definition.positive.unwrap_or(*truth)).filter(|score| !score.is_nan());
            let (Some(score), Some(place), Some((_, rows))) = (score, places.get(content), classes.get_mut(*truth))
            else {
                continue;
            };
            rows.scores.push(f64::from(*score));
            rows.groups.push(*group);
            rows.places.push(*place);
        }
        Self { classes, nuisances }
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.classes.iter().map(|(_, rows)| rows.scores.len() as u64).sum()
    }

    /// Returns the uses, the strongest first. It takes up to seconds of processor time, on a thread of its own.
    ///
    /// # Errors
    /// Returns an error if the thread panics.
    pub(crate) async fn uses(self) -> Result<Vec<NuisanceUse>> {
        on_a_thread(move || self.measured()).await
    }

    fn measured(&self) -> Vec<NuisanceUse> {
        let mut uses = Vec::new();
        for (class, rows) in self.classes.iter().filter(|(_, rows)| !rows.scores.is_empty()) {
            for column in &self.nuisances.columns {
                let measured = if column.is_word() { rows.of_words(column) } else { rows.of_numbers(column) };
                uses.extend(measured.into_iter().map(|(nuisance, correlation)| NuisanceUse {
                    nuisance,
                    class: class.clone(),
                    rows: rows.scores.len() as u64,
                    correlation,
                }));
            }
        }
        sort_uses(&mut uses);
        uses
    }
}

impl Rows {
    /// Returns the rank correlation with a nuisance of numbers.
    fn of_numbers(&self, column: &NuisanceColumn) -> Vec<(String, Interval)> {
        let all = column.numbers();
        let numbers: Vec<f64> = self.places.iter().filter_map(|place| all.get(*place).copied()).collect();
        let interval = rank_correlation_interval(&self.scores, &numbers, Some(&self.groups), BOOTSTRAP_SEED, RESAMPLES);
        vec![(column.name.clone(), self.with_enough_groups(interval))]
    }

    /// Returns the rank-biserial correlation with the word that the score follows most. If all rows have the same word,
    /// there is no correlation. Returns nothing if every word has too few rows.
    fn of_words(&self, column: &NuisanceColumn) -> Vec<(String, Interval)> {
        let all = column.words();
        let words: Vec<Option<&str>> = self.places.iter().filter_map(|place| all.get(*place).copied()).collect();
        let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        words.iter().for_each(|word| *counts.entry(*word).or_default() += 1);
        if counts.len() < 2 {
            return vec![(column.name.clone(), Interval::default())];
        }
        let is_enough = |count: usize| count >= WORD_ROWS_MIN && words.len() - count >= WORD_ROWS_MIN;
        let mut frequent: Vec<(Option<&str>, usize)> =
            counts.into_iter().filter(|(_, count)| is_enough(*count)).collect();
        // The sort is stable, so equally frequent words stay in their order.
        frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let judged = frequent.into_iter().take(WORDS_MAX).map(|(word, _)| {
            let is_in: Vec<bool> = words.iter().map(|one| *one == word).collect();
            let name = format!("{} = {}", column.name, word.unwrap_or("NULL"));
            (name, rank_biserial_interval(&is_in, &self.scores, None, BOOTSTRAP_SEED, 0).value, is_in)
        });
        let strength = |value: Option<f64>| value.map_or(-1.0, f64::abs);
        let Some((name, _, is_in)) = judged.max_by(|a, b| strength(a.1).total_cmp(&strength(b.1))) else {
            return Vec::new();
        };
        let interval = rank_biserial_interval(&is_in, &self.scores, Some(&self.groups), BOOTSTRAP_SEED, RESAMPLES);
        vec![(name, self.with_enough_groups(interval))]
    }

    fn with_enough_groups(&self, interval: Interval) -> Interval {
        let groups: HashSet<u64> = self.groups.iter().copied().collect();
        match groups.len() < GROUPS_MIN {
            true => Interval { low: None, high: None, ..interval },
            false => interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::manifest::Verdict;
    use tusk_core::nuisances::Value;
    use tusk_core::options::{Architecture, ModelSpec};

    use super::*;
    use crate::run::data::undecided;

    fn definition(classes: &[&str]) -> ModelDefinition {
        let mut definition = undecided(&ModelSpec::new(Architecture::CNN));
        definition.classes = classes.iter().map(|class| (*class).to_owned()).collect();
        definition.positive = (classes.len() == 2).then_some(1);
        definition
    }

    /// Numbers between 0 and 1.
    fn uniform(count: usize) -> Vec<f64> {
        let mut state = 9_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        (0..count).map(|_| next()).collect()
    }

    fn column(name: &str, value: impl Fn(usize) -> Option<Value>, rows: usize) -> NuisanceColumn {
        NuisanceColumn { name: name.to_owned(), values: (0..rows).map(value).collect() }
    }

    fn number(value: f64) -> Option<Value> {
        Some(Value::Number(value))
    }

    fn word(value: &str) -> Option<Value> {
        Some(Value::Word(value.to_owned()))
    }

    /// The verdicts and correlations of two classes of 60 rows each. The probability of the positive class grows with the
    /// row within each class.
    fn found(columns: Vec<NuisanceColumn>, groups: &[u64]) -> BTreeMap<(String, String), (Verdict, Option<f64>)> {
        let rows = 120;
        let truth: Vec<usize> = (0..rows).map(|row| row / 60).collect();
        let score = |row: usize| (row / 60) as f32 * 0.4 + (row % 60) as f32 / 120.0;
        let probabilities: Vec<f32> = (0..rows).flat_map(|row| [1.0 - score(row), score(row)]).collect();
        let contents: Vec<u64> = (0..rows as u64).map(|row| row + 1000).collect();
        let nuisances = Arc::new(Nuisances { contents: contents.clone(), columns });
        let definition = definition(&["NORMAL", "PNEUMONIA"]);
        let known = KnownRows::new((&truth, &probabilities), (groups, &contents), nuisances, &definition);
        assert_eq!(known.rows(), 120);
        let verdict =
            |one: NuisanceUse| ((one.nuisance.clone(), one.class.clone()), (one.verdict(), one.correlation.value));
        known.measured().into_iter().map(verdict).collect()
    }

    #[test]
    fn a_score_follows_what_grows_with_it_within_a_class_and_not_what_tells_the_classes_apart() {
        let noise = uniform(120);
        let columns = vec![
            column("level", |row| number((row % 60) as f64 + 20.0 * noise[row]), 120),
            column("inverse", |row| number(-((row % 60) as f64)), 120),
            column("site", |row| number((row / 60) as f64 + 0.001 * noise[row]), 120),
            column("constant", |_| number(3.0), 120),
            column("ward", |row| word(if row % 60 < 30 { "A" } else { "B" }), 120),
            column("path", |row| word(&row.to_string()), 120),
            column("maker", |row| if row % 60 < 30 { None } else { word("Acme") }, 120),
            column("country", |_| word("CH"), 120),
        ];
        let found = found(columns, &(0..120).collect::<Vec<u64>>());
        for class in ["NORMAL", "PNEUMONIA"] {
            let of = |name: &str| found.get(&(name.to_owned(), class.to_owned())).copied();
            assert_eq!(of("level").map(|one| one.0), Some(Verdict::Rises), "{class}");
            assert_eq!(of("inverse"), Some((Verdict::Falls, Some(-1.0))), "{class}");
            assert!(!matches!(of("site").unwrap().0, Verdict::Rises | Verdict::Falls), "{class}: {:?}", of("site"));
            assert_eq!(of("constant"), Some((Verdict::Same, None)), "{class}");
            assert_eq!(of("country"), Some((Verdict::Same, None)), "{class}");
            // Both words are told apart equally well; the last one is named.
            assert_eq!(of("ward = B"), Some((Verdict::Rises, Some(1.0))), "{class}");
            assert_eq!(of("maker = Acme"), Some((Verdict::Rises, Some(1.0))), "{class}");
        }
        assert!(found.keys().all(|(name, _)| !name.starts_with("path")), "{:?}", found.keys());
    }

    #[test]
    fn a_few_groups_have_a_correlation_without_an_interval() {
        let level = || vec![column("level", |row| number((row % 60) as f64), 120)];
        let patients: Vec<u64> = (0..120).map(|row| row / 6).collect();
        assert!(found(level(), &patients).values().all(|one| *one == (Verdict::TooFew, Some(1.0))));
        let patients: Vec<u64> = (0..120).map(|row| row / 3).collect();
        assert!(found(level(), &patients).values().all(|one| *one == (Verdict::Rises, Some(1.0))));
    }

    #[test]
    fn of_three_classes_each_score_is_that_of_the_class() {
        let truth: Vec<usize> = (0..90).map(|row| row / 30).collect();
        let probabilities: Vec<f32> = (0..90)
            .flat_map(|row| {
                let own = 0.5 + (row % 30) as f32 / 100.0;
                let mut all = [(1.0 - own) / 2.0; 3];
                all[row / 30] = own;
                all
            })
            .collect();
        let rows: Vec<u64> = (0..90).collect();
        let columns = vec![column("level", |row| number((row % 30) as f64), 90)];
        let nuisances = Arc::new(Nuisances { contents: rows.clone(), columns });
        let definition = definition(&["a", "b", "c"]);
        let known = KnownRows::new((&truth, &probabilities), (&rows, &rows), nuisances, &definition);
        let uses = known.measured();
        assert_eq!(uses.len(), 3);
        assert!(uses.iter().all(|one| one.correlation.value == Some(1.0) && one.rows == 30), "{uses:?}");
    }

    #[test]
    fn rows_that_are_unknown_or_have_no_score_are_left_out() {
        let nuisances =
            Nuisances { contents: vec![1, 2, 3], columns: vec![column("level", |row| number(row as f64), 3)] };
        let probabilities = [0.1, 0.9, 0.2, f32::NAN, 0.3, 0.7, 0.4, 0.6];
        let definition = definition(&["a", "b"]);
        let truth = [0, 0, 1, 0];
        let known =
            KnownRows::new((&truth, &probabilities), (&[7; 4], &[1, 2, 3, 9]), Arc::new(nuisances), &definition);
        assert_eq!(known.rows(), 2);
        assert!(known.measured().iter().all(|one| one.verdict() == Verdict::Same), "one row each");
        let none = KnownRows::new((&truth, &probabilities), (&[7; 4], &[]), Arc::default(), &definition);
        assert!(none.measured().is_empty());
    }
}
