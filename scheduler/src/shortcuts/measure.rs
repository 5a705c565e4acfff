//! Judges how well each nuisance and each probe tells the classes apart.

use std::collections::{BTreeMap, BTreeSet};

use tusk_core::manifest::Shortcut;
use tusk_core::metrics::{roc_auc, roc_auc_interval};
use tusk_core::nuisances::{NuisanceColumn, Nuisances};
use tusk_core::random::fold_of;

use super::linear::Matrix;
use super::nuisances::advice_of;
use super::probes::PROBES;
use super::sample::Row;

/// Resamples of an interval.
const RESAMPLES: usize = 200;

const SEED: u64 = 42;
const FOLDS: u32 = 5;

/// Returns all shortcuts, the best first.
pub(super) fn measure(rows: &[Row], nuisances: &Nuisances) -> Vec<Shortcut> {
    let judge = Judge::new(rows);
    let mut found: Vec<Shortcut> = nuisances.columns.iter().filter_map(|column| judge.nuisance(column)).collect();
    for probe in PROBES {
        let seen: Vec<Vec<f32>> = rows.iter().map(|row| (probe.seen)(&row.image.thumbnail)).collect();
        let matrix = Matrix::standardised(&seen);
        let score = |class: usize| {
            judge.out_of_fold(
                |coefficients: &Vec<f64>, row| matrix.score(row, coefficients),
                |rows| {
                    let share =
                        rows.iter().filter(|row| judge.truth[**row] == class).count() as f64 / rows.len().max(1) as f64;
                    let target: Vec<f64> =
                        judge.truth.iter().map(|truth| f64::from(u8::from(*truth == class)) - share).collect();
                    matrix.fit(rows, &target)
                },
            )
        };
        let shortcut = judge.best(probe.name, score, probe.advice);
        found.extend(shortcut.map(|found| Shortcut { may_be_subject: probe.may_be_subject, ..found }));
    }
    let value = |shortcut: &Shortcut| shortcut.roc_auc.value.unwrap_or(0.0);
    found.sort_by(|a, b| value(b).total_cmp(&value(a)));
    found
}

/// The true classes and the groups of the rows.
struct Judge {
    classes: Vec<String>,
    truth: Vec<usize>,
    groups: Vec<u64>,
    folds: Vec<u32>,
}

impl Judge {
    fn new(rows: &[Row]) -> Self {
        let classes: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
        let places: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(place, class)| (*class, place)).collect();
        Self {
            truth: rows.iter().filter_map(|row| places.get(row.label.as_str()).copied()).collect(),
            groups: rows.iter().map(|row| row.group).collect(),
            folds: rows.iter().map(|row| fold_of(SEED, row.group, FOLDS)).collect(),
            classes: classes.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Judges a nuisance. A row without a number is below all others, because the lack of a value can be a shortcut, too.
    fn nuisance(&self, column: &NuisanceColumn) -> Option<Shortcut> {
        let advice = advice_of(&column.name);
        if column.is_word() {
            let words = column.words();
            return self.best(&column.name, |class| self.word_scores(&words, class), advice);
        }
        let numbers = column.numbers();
        let signed = |class: usize| {
            let truth: Vec<bool> = self.truth.iter().map(|truth| *truth == class).collect();
            let is_low = roc_auc(&truth, &numbers).is_some_and(|auc| auc < 0.5);
            numbers.iter().map(|number| if is_low { -number } else { *number }).collect()
        };
        self.best(&column.name, signed, advice)
    }

    /// Returns the judgement of the class that its scores tell from the others best.
    fn best(&self, name: &str, score: impl Fn(usize) -> Vec<f64>, advice: &'static str) -> Option<Shortcut> {
        // Of two classes, the scores of one are those of the other with another sign.
        let classes = if self.classes.len() == 2 { 1..2 } else { 0..self.classes.len() };
        let judged = classes.filter_map(|class| {
            let (truth, score) = (self.truth.iter().map(|truth| *truth == class).collect::<Vec<bool>>(), score(class));
            Some((roc_auc(&truth, &score)?, class, truth, score))
        });
        let (_, class, truth, score) = judged.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let roc_auc = roc_auc_interval(&truth, &score, Some(&self.groups), SEED, RESAMPLES);
        Some(Shortcut {
            name: name.to_owned(),
            roc_auc,
            class: self.classes[class].clone(),
            may_be_subject: false,
            advice: advice.to_owned(),
        })
    }

    /// Scores each row by what `fit` learns from the rows of the other folds.
    fn out_of_fold<M>(&self, score: impl Fn(&M, usize) -> f64, fit: impl Fn(&[usize]) -> M) -> Vec<f64> {
        let mut scores = vec![0.0; self.truth.len()];
        for fold in 0..FOLDS {
            let (held_out, others): (Vec<usize>, Vec<usize>) =
                (0..scores.len()).partition(|row| self.folds[*row] == fold);
            let model = fit(&others);
            held_out.into_iter().for_each(|row| scores[row] = score(&model, row));
        }
        scores
    }

    /// Scores each row by the frequency of a class among the rows of the other folds with the same word.
    fn word_scores(&self, words: &[Option<&str>], class: usize) -> Vec<f64> {
        let fit = |rows: &[usize]| {
            let mut counts: BTreeMap<Option<&str>, (f64, f64)> = BTreeMap::new();
            let mut all = (0.0, 0.0);
            for row in rows {
                let hit = f64::from(u8::from(self.truth[*row] == class));
                let count = counts.entry(words[*row]).or_default();
                *count = (count.0 + hit, count.1 + 1.0);
                all = (all.0 + hit, all.1 + 1.0);
            }
            (counts, all.0 / f64::max(all.1, 1.0))
        };
        self.out_of_fold(
            |(counts, share), row| {
                let (hits, count) = counts.get(&words[row]).copied().unwrap_or_default();
                (hits + share) / (count + 1.0)
            },
            fit,
        )
    }
}
