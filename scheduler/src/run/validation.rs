//! The scores of the validation rows: loss, metrics, threshold and calibration.

use std::collections::BTreeMap;
use std::sync::Arc;

use tusk_core::job::{Scores, ValidateReport};
use tusk_core::manifest::ModelDefinition;
use tusk_core::metrics::{
    Calibration, Decision, PROBABILITY_EPSILON, Report, decide, evaluate_binary, evaluate_multi, roc_auc, roc_auc_ovr,
    smooth_threshold,
};
use tusk_core::nuisances::Nuisances;
use tusk_core::options::{Loss, Threshold};

use super::uses::KnownRows;

/// Number of bootstrap resamples for the intervals.
pub(crate) const RESAMPLES: usize = 1000;

/// The seed of the bootstrap.
pub(crate) const BOOTSTRAP_SEED: u64 = 42;

/// The true classes and the probabilities of the validation rows, in the order of the workers.
#[derive(Debug, Default)]
pub(crate) struct Validation {
    truth: Vec<usize>,
    probabilities: Vec<f32>,
    /// The split key of each row.
    groups: Vec<u64>,
    /// The content hash of each row. Empty if it is not known.
    contents: Vec<u64>,
    /// The scores of copies of the rows, changed at random as in training. The threshold is chosen on them as well.
    copies: Scores,
    pub(crate) reports: Vec<ValidateReport>,
}

impl Validation {
    /// Creates a validation from the true class, the probabilities and the split key of each row.
    pub(crate) fn new(truth: Vec<usize>, probabilities: Vec<f32>, groups: Vec<u64>) -> Self {
        Self { truth, probabilities, groups, ..Self::default() }
    }

    /// Creates a validation from the task outputs of the workers.
    pub(crate) fn of_workers(scores: Scores, reports: Vec<ValidateReport>) -> Self {
        let truth = scores.truth.into_iter().map(|class| class as usize).collect();
        Self { reports, contents: scores.contents, ..Self::new(truth, scores.probabilities, scores.groups) }
    }

    /// Adds the scores of copies of the rows.
    pub(crate) fn with_copies(self, copies: Scores) -> Self {
        Self { copies, ..self }
    }

    /// Returns the number of rows per class.
    pub(crate) fn rows(&self, definition: &ModelDefinition) -> BTreeMap<String, u64> {
        let of = |class: usize| self.truth.iter().filter(|truth| **truth == class).count() as u64;
        definition.classes.iter().enumerate().map(|(class, name)| (name.clone(), of(class))).collect()
    }

    /// Joins the rows of several nets. Each row is scored by a net that has not seen it.
    pub(crate) fn together(validations: impl IntoIterator<Item = Self>) -> Self {
        validations.into_iter().fold(Self::default(), |mut all, validation| {
            all.truth.extend(validation.truth);
            all.probabilities.extend(validation.probabilities);
            all.groups.extend(validation.groups);
            all.contents.extend(validation.contents);
            all.copies.extend(validation.copies);
            all.reports.extend(validation.reports);
            all
        })
    }

    fn row(&self, row: usize, classes: usize) -> &[f32] {
        self.probabilities.get(row * classes..(row + 1) * classes).unwrap_or(&[])
    }

    /// Returns the mean of the losses, each multiplied by its class weight. `None` without rows.
    pub(crate) fn loss(&self, definition: &ModelDefinition) -> Option<f64> {
        let classes = definition.classes.len();
        let losses = self.truth.iter().enumerate().map(|(row, truth)| {
            let probabilities = self.row(row, classes);
            let weight = definition.class_weights.get(*truth).copied().unwrap_or(1.0);
            let loss = match definition.loss {
                Loss::MeanSquaredError => squared_error(probabilities, *truth),
                Loss::Hinge => hinge(probabilities, *truth),
                Loss::BinaryCrossentropy | Loss::CategoricalCrossentropy => {
                    let p = probabilities.get(*truth).copied().map_or(0.0, f64::from);
                    -p.clamp(PROBABILITY_EPSILON, 1.0).ln()
                }
            };
            loss * weight
        });
        (!self.truth.is_empty()).then(|| losses.sum::<f64>() / self.truth.len() as f64)
    }

    /// Returns the fraction of rows whose most probable class is the true one. `None` without rows.
    pub(crate) fn accuracy(&self, definition: &ModelDefinition) -> Option<f64> {
        let classes = definition.classes.len();
        let is_right = |(row, truth): &(usize, &usize)| decide(self.row(*row, classes), None) == Some(**truth);
        let right = self.truth.iter().enumerate().filter(is_right).count();
        (!self.truth.is_empty()).then(|| right as f64 / self.truth.len() as f64)
    }

    /// Returns the ROC AUC of the positive class, or the mean over classes. `None` if a class has no rows.
    pub(crate) fn roc_auc(&self, definition: &ModelDefinition) -> Option<f64> {
        match definition.positive {
            Some(positive) => {
                let (truth, score) = self.binary(positive);
                roc_auc(&truth, &score)
            }
            None => roc_auc_ovr(&self.truth, &self.probabilities, definition.classes.len()),
        }
    }

    /// Returns the decision threshold: the given one, or the one with the best balanced accuracy on the rows and their
    /// copies, or 0.5 if they do not determine it.
    ///
    /// The nets tell the rows apart so well that many thresholds are equally good on them, but not on images of other
    /// equipment. Those on which copies are told apart, too, are fewer.
    pub(crate) fn decision(&self, definition: &ModelDefinition) -> Option<Decision> {
        let positive = definition.positive?;
        let given = |threshold| Some(Decision { threshold, range: None });
        match definition.spec.prediction.threshold {
            Threshold::Given(threshold) => given(threshold),
            Threshold::Auto => {
                let (mut truth, mut score) = self.binary(positive);
                let is_positive = |class: &u32| *class as usize == positive;
                truth.extend(self.copies.truth.iter().map(is_positive));
                score.extend(self.copies.probabilities.iter().skip(positive).step_by(2).map(|p| f64::from(*p)));
                let groups = [self.groups.as_slice(), &self.copies.groups].concat();
                smooth_threshold(&truth, &score, Some(&groups), BOOTSTRAP_SEED).or(given(0.5))
            }
        }
    }

    /// Returns all metrics with their intervals. `None` without rows.
    pub(crate) fn report(&self, definition: &ModelDefinition) -> Option<Report> {
        let (groups, classes) = (Some(self.groups.as_slice()), definition.classes.len());
        let report = match (definition.positive, self.decision(definition)) {
            (Some(positive), Some(Decision { threshold, .. })) => {
                let (truth, score) = self.binary(positive);
                evaluate_binary(&truth, &score, groups, threshold, BOOTSTRAP_SEED, RESAMPLES)
            }
            _ => evaluate_multi(&self.truth, &self.probabilities, classes, groups, BOOTSTRAP_SEED, RESAMPLES),
        };
        (!self.truth.is_empty()).then_some(report)
    }

    /// Returns the calibration of the probabilities. `None` if the rows do not determine it.
    pub(crate) fn calibration(&self, definition: &ModelDefinition) -> Option<Calibration> {
        Calibration::fit(&self.truth, &self.probabilities, definition.classes.len())
    }

    /// Returns the rows whose nuisances are known.
    pub(crate) fn known(&self, nuisances: &Arc<Nuisances>, definition: &ModelDefinition) -> KnownRows {
        let (scored, hashes) = ((&*self.truth, &*self.probabilities), (&*self.groups, &*self.contents));
        KnownRows::new(scored, hashes, Arc::clone(nuisances), definition)
    }

    fn binary(&self, positive: usize) -> (Vec<bool>, Vec<f64>) {
        let truth = self.truth.iter().map(|class| *class == positive).collect();
        let score = (0..self.truth.len()).map(|row| self.row(row, 2).get(positive).copied().map_or(0.0, f64::from));
        (truth, score.collect())
    }
}

/// Returns the hinge loss as training computes it: of one margin if there are two classes, else the sum over classes.
///
/// A probability is the logistic function of its margin. For more than two classes, only the differences of the margins
/// are known, and their mean is assumed to be zero.
fn hinge(probabilities: &[f32], truth: usize) -> f64 {
    let p = |p: &f32| f64::from(*p).clamp(PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON);
    if let [first, second] = probabilities {
        let margin = (p(second) / p(first)).ln();
        return (1.0 + if truth == 1 { -margin } else { margin }).max(0.0);
    }
    let logarithms: Vec<f64> = probabilities.iter().map(|value| p(value).ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64;
    let short = |(class, value): (usize, &f64)| {
        let margin = value - mean;
        (1.0 + if class == truth { -margin } else { margin }).max(0.0)
    };
    logarithms.iter().enumerate().map(short).sum()
}

/// Returns the squared error as training computes it: of one probability if there are two classes, else the sum over
/// classes.
fn squared_error(probabilities: &[f32], truth: usize) -> f64 {
    let error = |(class, p): (usize, &f32)| (f64::from(*p) - f64::from(u8::from(class == truth))).powi(2);
    let sum: f64 = probabilities.iter().enumerate().map(error).sum();
    if probabilities.len() == 2 { sum / 2.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use tusk_core::options::{Architecture, ModelSpec};

    use super::*;
    use crate::run::data::undecided;

    #[test]
    fn the_hinge_of_probabilities_is_the_hinge_of_their_margins() {
        let logistic = |margin: f64| (1.0 / (1.0 + (-margin).exp())) as f32;
        for (margin, truth, wanted) in [(1.5, 0, 2.5), (1.5, 1, 0.0), (-0.5, 1, 1.5), (0.25, 1, 0.75)] {
            let found = hinge(&[logistic(-margin), logistic(margin)], truth);
            assert!((found - wanted).abs() < 1e-5, "margin {margin}, class {truth}: {found}");
        }
        // The softmax of three margins whose mean is zero.
        let exponentials = [1.5_f64, -0.5, -1.0].map(f64::exp);
        let softmax = exponentials.map(|e| (e / exponentials.iter().sum::<f64>()) as f32);
        assert!((hinge(&softmax, 0) - 0.5).abs() < 1e-5);
        assert!((hinge(&softmax, 1) - (2.5 + 1.5)).abs() < 1e-5);
        assert!(hinge(&[1.0, 0.0], 1).is_finite());
    }

    #[test]
    fn the_threshold_is_chosen_on_copies_as_well() {
        let mut definition = undecided(&ModelSpec::new(Architecture::CNN));
        definition.classes = vec!["NORMAL".to_owned(), "PNEUMONIA".to_owned()];
        definition.positive = Some(1);
        let probabilities = |scores: [f32; 2]| scores.into_iter().flat_map(|p| [1.0 - p, p]).cycle().take(80).collect();
        let truth = || [0_usize, 1].into_iter().cycle().take(40).collect::<Vec<_>>();
        let as_is = Validation::new(truth(), probabilities([0.001, 0.97]), (0..40).collect());
        let alone = as_is.decision(&definition).unwrap().threshold;
        // The negative rows are scored far higher when they are changed.
        let truth = truth().into_iter().map(|class| class as u32).collect();
        let probabilities = probabilities([0.5, 0.97]);
        let copies = Scores { truth, probabilities, groups: (0..40).collect(), contents: Vec::new() };
        let with_copies = as_is.with_copies(copies).decision(&definition).unwrap().threshold;
        assert!(alone < 0.4 && with_copies > 0.6, "{alone} alone, {with_copies} with copies");
    }
}
