//! The class frequencies of unlabelled rows, and the correction of probabilities for them.

use serde::{Deserialize, Serialize};

use super::Calibration;

/// Maximum number of steps of the estimate.
const STEPS_MAX: usize = 1000;

/// The largest change of a frequency in a step at which the estimate has converged.
const CHANGE_MIN: f64 = 1e-9;

/// The frequencies of the classes at a site, for which the probabilities of a model are corrected. All lists are in the
/// order of the classes, and each adds up to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassPrior {
    /// The estimated frequencies at the site.
    pub site: Vec<f64>,
    /// The frequencies that the probabilities of the net assume: those of the training rows, times the class weights.
    pub raw: Vec<f64>,
    /// The frequencies that the calibrated probabilities assume: those of the validation rows. The same as `raw` if the
    /// calibration has no bias or there is none.
    pub calibrated: Vec<f64>,
}

impl ClassPrior {
    /// Estimates the class frequencies of rows from the probabilities of a net, which are rows x classes, row-major.
    ///
    /// It is the maximum of the likelihood, found by expectation maximization (Saerens, Latinne & Decaestecker 2002).
    /// The estimate uses calibrated probabilities if the calibration has a bias, because it assumes that the
    /// probabilities match frequencies (Alexandari et al. 2020, arXiv 1901.06852). `raw` are the frequencies that the
    /// probabilities assume, and `validation` are those of the rows of the calibration. Rows with NaN are ignored.
    ///
    /// Returns `None` if there are no rows, or if a class has no positive frequency in `raw`.
    #[must_use]
    pub fn estimate(
        probabilities: &[f32],
        raw: Vec<f64>,
        calibration: Option<(&Calibration, Option<Vec<f64>>)>,
    ) -> Option<Self> {
        let classes = raw.len().max(1);
        let rows = probabilities.chunks_exact(classes).filter(|row| row.iter().all(|p| p.is_finite()));
        let with_bias = calibration.and_then(|(calibration, validation)| {
            let validation = validation.filter(|validation| is_distribution(validation, classes))?;
            (!calibration.bias.is_empty()).then_some((calibration, validation))
        });
        let (rows, calibrated): (Vec<f64>, Vec<f64>) = match with_bias {
            Some((calibration, validation)) => {
                (rows.flat_map(|row| calibration.apply(row)).map(f64::from).collect(), validation)
            }
            None => (rows.flatten().copied().map(f64::from).collect(), raw.clone()),
        };
        if !is_distribution(&raw, classes) || rows.is_empty() {
            return None;
        }
        Some(Self { site: maximize(&rows, &calibrated), raw, calibrated })
    }

    /// Corrects the probabilities of a row: each is multiplied by the ratio of the frequencies of its class at the site
    /// and in training.
    #[must_use]
    pub fn apply(&self, probabilities: &[f32]) -> Vec<f32> {
        let ratios = self.site.iter().zip(&self.raw).map(|(site, raw)| site / raw);
        let weighted: Vec<f64> = probabilities.iter().zip(ratios).map(|(p, ratio)| f64::from(*p) * ratio).collect();
        let sum: f64 = weighted.iter().sum();
        // The class with all probability may be one that is next to impossible at the site.
        if sum > 0.0 { weighted.iter().map(|p| (p / sum) as f32).collect() } else { probabilities.to_vec() }
    }

    /// Returns the calibration of corrected probabilities. Applied to them, it gives the calibrated probabilities,
    /// corrected from the frequencies of the validation rows to those of the site.
    #[must_use]
    pub fn calibration(&self, calibration: &Calibration) -> Calibration {
        let temperature = calibration.temperature;
        let frequencies = self.site.iter().zip(&self.raw).zip(&self.calibrated);
        let bias = frequencies.enumerate().map(|(class, ((site, raw), calibrated))| {
            let own = calibration.bias.get(class).copied().unwrap_or(0.0);
            own - (site / raw).ln() / temperature + (site / calibrated).ln()
        });
        Calibration { temperature, bias: bias.collect() }
    }

    /// Checks that the frequencies are valid for this number of classes, because files are not trusted.
    #[must_use]
    pub fn is_for(&self, classes: usize) -> bool {
        [&self.site, &self.raw, &self.calibrated].into_iter().all(|list| is_distribution(list, classes))
    }
}

/// Returns counts as frequencies. `None` if they are not all positive.
#[must_use]
pub fn frequencies(counts: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = counts.iter().sum();
    let frequencies: Vec<f64> = counts.iter().map(|count| count / sum).collect();
    is_distribution(&frequencies, counts.len()).then_some(frequencies)
}

/// Returns whether these are frequencies of this number of classes, each above 0.
fn is_distribution(frequencies: &[f64], classes: usize) -> bool {
    let sum: f64 = frequencies.iter().sum();
    frequencies.len() == classes && frequencies.iter().all(|f| *f > 0.0) && (sum - 1.0).abs() < 1e-6
}

/// Returns the frequencies with which the rows are most likely. The probabilities of the rows, rows x classes, assume
/// the frequencies `assumed`.
fn maximize(rows: &[f64], assumed: &[f64]) -> Vec<f64> {
    let classes = assumed.len().max(1);
    let count = (rows.len() / classes).max(1) as f64;
    let mut site = assumed.to_vec();
    for _ in 0..STEPS_MAX {
        let ratios: Vec<f64> = site.iter().zip(assumed).map(|(site, assumed)| site / assumed).collect();
        let mut sums = vec![0.0; classes];
        for row in rows.chunks_exact(classes) {
            let weighted = || row.iter().zip(&ratios).map(|(p, ratio)| p * ratio);
            let sum: f64 = weighted().sum();
            if sum > 0.0 {
                sums.iter_mut().zip(weighted()).for_each(|(total, p)| *total += p / sum);
            }
        }
        let next = at_least_half_a_row(&sums, count);
        let change = next.iter().zip(&site).map(|(next, last)| (next - last).abs()).fold(0.0, f64::max);
        site = next;
        if change < CHANGE_MIN {
            break;
        }
    }
    site
}

/// Returns expected rows per class as frequencies. A class is never impossible, because the next image may be one of
/// it.
fn at_least_half_a_row(sums: &[f64], count: f64) -> Vec<f64> {
    let bounded: Vec<f64> = sums.iter().map(|sum| sum.max(0.5).min(count.max(0.5))).collect();
    let total: f64 = bounded.iter().sum();
    bounded.iter().map(|rows| rows / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::derive;

    /// A number in [0, 1).
    fn uniform(purpose: &str, row: u64) -> f64 {
        (derive(7, purpose, &[row]) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A normally distributed number, with mean 0 and standard deviation 1.
    fn normal(row: u64) -> f64 {
        let radius = (-2.0 * (1.0 - uniform("radius", row)).ln()).sqrt();
        radius * (std::f64::consts::TAU * uniform("angle", row)).cos()
    }

    /// Rows of three classes whose values are normally distributed about the number of their class. The fraction of
    /// each class is given. Returns their probabilities by Bayes' rule for the frequencies `assumed`.
    fn rows(site: [f64; 3], assumed: [f64; 3], count: u64) -> Vec<f32> {
        let row = |row: u64| {
            let place = uniform("class", row);
            let class = [site[0], site[0] + site[1]].into_iter().filter(|end| place >= *end).count();
            let value = 2.0 * class as f64 + normal(row);
            let density = |class: usize| assumed[class] * (-0.5 * (value - 2.0 * class as f64).powi(2)).exp();
            let densities = [density(0), density(1), density(2)];
            let sum: f64 = densities.iter().sum();
            densities.map(|density| (density / sum) as f32)
        };
        (0..count).flat_map(row).collect()
    }

    fn assert_near(found: &[f64], wanted: &[f64], bound: f64) {
        assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < bound), "{found:?} is not {wanted:?}");
    }

    #[test]
    fn the_frequencies_of_a_site_are_found_from_scores_that_assume_others() {
        let (site, assumed) = ([0.7, 0.1, 0.2], [0.2, 0.3, 0.5]);
        let scores = rows(site, assumed, 20_000);
        let found = ClassPrior::estimate(&scores, assumed.to_vec(), None).unwrap();
        assert_near(&found.site, &site, 0.02);
        assert!(found.is_for(3) && !found.is_for(2));
        // Corrected scores are those of Bayes' rule for the frequencies of the site.
        let exact = ClassPrior { site: site.to_vec(), ..found };
        let corrected: Vec<f64> = scores.chunks_exact(3).flat_map(|row| exact.apply(row)).map(f64::from).collect();
        let wanted: Vec<f64> = rows_with(&scores, assumed, site);
        assert_near(&corrected, &wanted, 1e-5);
        // Where nothing differs, nothing is corrected.
        let same = ClassPrior::estimate(&rows(assumed, assumed, 20_000), assumed.to_vec(), None).unwrap();
        assert_near(&same.site, &assumed, 0.02);
    }

    /// The probabilities of rows for other frequencies than those that they assume.
    fn rows_with(scores: &[f32], assumed: [f64; 3], wanted: [f64; 3]) -> Vec<f64> {
        let row = |row: &[f32]| {
            let weighted: Vec<f64> =
                (0..3).map(|class| f64::from(row[class]) / assumed[class] * wanted[class]).collect();
            let sum: f64 = weighted.iter().sum();
            weighted.into_iter().map(move |p| p / sum).collect::<Vec<_>>()
        };
        scores.chunks_exact(3).flat_map(row).collect()
    }

    #[test]
    fn scores_that_are_not_calibrated_are_calibrated_before_the_estimate() {
        let (site, validation, uniform) = ([0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [1.0 / 3.0; 3]);
        // As a net with class weights, which is overconfident: its logits are doubled.
        let sharp: Vec<f32> = rows(site, uniform, 20_000)
            .chunks_exact(3)
            .flat_map(|row| {
                let sum: f32 = row.iter().map(|p| p * p).sum();
                row.iter().map(move |p| p * p / sum).collect::<Vec<_>>()
            })
            .collect();
        let bias = validation.map(f64::ln);
        let mean = bias.iter().sum::<f64>() / 3.0;
        let calibration = Calibration { temperature: 2.0, bias: bias.iter().map(|bias| bias - mean).collect() };
        let known = Some((&calibration, Some(validation.to_vec())));
        let found = ClassPrior::estimate(&sharp, uniform.to_vec(), known).unwrap();
        assert_near(&found.site, &site, 0.02);
        assert_eq!((found.raw.as_slice(), found.calibrated.as_slice()), (&uniform[..], &validation[..]));
        // The calibration of the corrected scores gives the calibrated scores, corrected.
        let exact = ClassPrior { site: site.to_vec(), ..found };
        let both = exact.calibration(&calibration);
        for row in sharp.chunks_exact(3).take(200) {
            let wanted = rows_with(&calibration.apply(row), validation, site);
            let found: Vec<f64> = both.apply(&exact.apply(row)).into_iter().map(f64::from).collect();
            assert_near(&found, &wanted, 1e-4);
        }
        // A temperature alone says nothing about frequencies.
        let plain = Calibration { temperature: 2.0, bias: Vec::new() };
        let found = ClassPrior::estimate(&sharp, uniform.to_vec(), Some((&plain, Some(validation.to_vec())))).unwrap();
        assert_eq!(found.calibrated, found.raw);
    }

    #[test]
    fn no_class_becomes_impossible_and_no_rows_give_no_estimate() {
        let sure: Vec<f32> = [1.0, 0.0].repeat(50);
        let found = ClassPrior::estimate(&sure, vec![0.5; 2], None).unwrap();
        assert_near(&found.site, &[50.0 / 50.5, 0.5 / 50.5], 1e-9);
        assert_eq!(found.apply(&[0.0, 1.0]), [0.0, 1.0]);
        assert_eq!(ClassPrior::estimate(&[], vec![0.5; 2], None), None);
        assert_eq!(ClassPrior::estimate(&[f32::NAN, 1.0], vec![0.5; 2], None), None);
        assert_eq!(ClassPrior::estimate(&sure, vec![1.0, 0.0], None), None);
        assert_eq!((frequencies(&[3.0, 1.0]), frequencies(&[1.0, 0.0])), (Some(vec![0.75, 0.25]), None));
    }
}
