//! The metrics of scikit-learn 1.9.1, printed by tests/reference/sklearn_metrics.py on the data written out here.

use super::definitions::{accuracy, balanced_accuracy, f1, precision, recall, specificity};
use super::*;

const TRUTH: [u8; 20] = [0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1];
const SCORE: [f64; 20] = [
    0.10, 0.40, 0.35, 0.80, 0.80, 0.80, 0.20, 0.50, 0.50, 0.30, 0.90, 0.65, 0.40, 0.05, 0.95, 0.55, 0.70, 0.20, 0.20,
    1.00,
];
const OTHER: [f64; 20] = [
    0.30, 0.60, 0.20, 0.70, 0.75, 0.65, 0.10, 0.80, 0.55, 0.45, 0.65, 0.15, 0.50, 0.25, 0.90, 0.50, 0.70, 0.60, 0.65,
    1.00,
];
const THRESHOLD: f64 = 0.4;

const MULTI_TRUTH: [usize; 12] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2];
const MULTI_SIXTEENTHS: [[u8; 3]; 12] = [
    [12, 2, 2],
    [8, 6, 2],
    [4, 10, 2],
    [6, 5, 5],
    [2, 12, 2],
    [8, 4, 4],
    [3, 9, 4],
    [1, 1, 14],
    [4, 4, 8],
    [9, 3, 4],
    [2, 5, 9],
    [1, 9, 6],
];

/// Threshold, false positive rate, true positive rate.
const ROC_CURVE: [(f64, f64, f64); 15] = [
    (f64::INFINITY, 0.0, 0.0),
    (1.0, 0.0, 0.09090909090909091),
    (0.95, 0.0, 0.18181818181818182),
    (0.9, 0.0, 0.2727272727272727),
    (0.8, 0.1111111111111111, 0.45454545454545453),
    (0.7, 0.1111111111111111, 0.5454545454545454),
    (0.65, 0.1111111111111111, 0.6363636363636364),
    (0.55, 0.2222222222222222, 0.6363636363636364),
    (0.5, 0.3333333333333333, 0.7272727272727273),
    (0.4, 0.4444444444444444, 0.8181818181818182),
    (0.35, 0.4444444444444444, 0.9090909090909091),
    (0.3, 0.5555555555555556, 0.9090909090909091),
    (0.2, 0.7777777777777778, 1.0),
    (0.1, 0.8888888888888888, 1.0),
    (0.05, 1.0, 1.0),
];
const AVERAGE_PRECISION: f64 = 0.831253342616979;
const BRIER_SCORE: f64 = 0.17562499999999998;
/// Share of positives and mean probability in five bins.
const RELIABILITY: [(f64, f64); 5] = [
    (0.2, 0.15),
    (0.5, 0.36250000000000004),
    (0.3333333333333333, 0.5166666666666667),
    (0.8, 0.75),
    (1.0, 0.9500000000000001),
];
/// SciPy's minimum of scikit-learn's log_loss.
const TEMPERATURE: f64 = 0.582961834287918;
const BIAS: [f64; 3] = [0.08470401537342842, -0.6087374474474145, 0.5240334320739861];

fn truth() -> Vec<bool> {
    TRUTH.iter().map(|&truth| truth == 1).collect()
}

fn multi_probs() -> Vec<f32> {
    MULTI_SIXTEENTHS.as_flattened().iter().map(|&sixteenths| f32::from(sixteenths) / 16.0).collect()
}

#[track_caller]
fn agree(value: Option<f64>, scikit_learn: f64) {
    let value = value.expect("a value");
    assert!((value - scikit_learn).abs() < 1e-12, "{value}, scikit-learn has {scikit_learn}");
}

#[test]
fn binary_metrics_with_ties_equal_those_of_scikit_learn() {
    let counts = Confusion::at_threshold(&truth(), &SCORE, THRESHOLD);
    assert_eq!(counts, Confusion { tp: 9, fp: 4, tn: 5, fn_: 2 });
    let report = evaluate_binary(&truth(), &SCORE, None, THRESHOLD, 42, 100);
    assert_eq!(report.rows, 20);
    agree(report.metric(&accuracy::METRIC).value, 0.7);
    agree(report.metric(&precision::METRIC).value, 0.6923076923076923);
    agree(report.metric(&recall::METRIC).value, 0.8181818181818182);
    agree(report.metric(&specificity::METRIC).value, 0.5555555555555556);
    agree(report.metric(&f1::METRIC).value, 0.75);
    agree(report.metric(&balanced_accuracy::METRIC).value, 0.6868686868686869);
    agree(report.metric(&definitions::roc_auc::METRIC).value, 0.8080808080808081);
    agree(report.metric(&definitions::log_loss::METRIC).value, 0.5115315545831101);
}

#[test]
fn curves_and_calibration_with_ties_are_those_of_scikit_learn() {
    let truth = truth();
    let points = curve(&truth, &SCORE).unwrap();
    let found: Vec<(f64, f64, f64)> = points
        .iter()
        .map(|p| (p.threshold, 1.0 - p.counts.specificity().unwrap(), p.counts.recall().unwrap()))
        .collect();
    assert_eq!(found.len(), ROC_CURVE.len());
    for ((threshold, fpr, tpr), wanted) in found.into_iter().zip(ROC_CURVE) {
        assert_eq!(threshold, wanted.0);
        agree(Some(fpr), wanted.1);
        agree(Some(tpr), wanted.2);
    }
    agree(average_precision(&truth, &SCORE), AVERAGE_PRECISION);
    agree(brier_score(&truth, &SCORE), BRIER_SCORE);
    let bins = reliability(&truth, &SCORE, 5);
    let filled: Vec<_> = bins.iter().filter(|bin| bin.rows > 0).collect();
    assert_eq!(filled.len(), RELIABILITY.len());
    for (bin, (positive_share, mean_probability)) in filled.into_iter().zip(RELIABILITY) {
        agree(bin.positive_share, positive_share);
        agree(bin.mean_probability, mean_probability);
    }
    agree(expected_calibration_error(&reliability(&truth, &SCORE, 10)), 0.17250000000000004);
    let (classes, probs) = (MULTI_TRUTH, multi_probs());
    // SciPy's minimum of a function has half the digits of its slope's zero.
    let found = Calibration::fit(&classes, &probs, 3).unwrap();
    assert!((found.temperature - TEMPERATURE).abs() < 1e-5, "{found:?}");
    assert!(found.bias.iter().zip(BIAS).all(|(bias, wanted)| (bias - wanted).abs() < 1e-5), "{found:?}");
}

#[test]
fn bootstraps_are_those_of_scipy() {
    // Draws of different generators: bounds of 20,000 of them differ by less than this.
    let near = |found: Option<f64>, scipy: f64| {
        let found = found.expect("a bound");
        assert!((found - scipy).abs() < 0.012, "{found}, SciPy has {scipy}");
    };
    let report = evaluate_binary(&truth(), &SCORE, None, THRESHOLD, 42, 20_000);
    near(report.metric(&accuracy::METRIC).low, 0.5);
    near(report.metric(&accuracy::METRIC).high, 0.9);
    near(report.metric(&definitions::roc_auc::METRIC).low, 0.587912087912088);
    near(report.metric(&definitions::roc_auc::METRIC).high, 0.96875);
    let compared = compare_roc_auc(&truth(), (&SCORE, &OTHER), None, 42, 20_000);
    agree(compared.difference.value, 0.07575757575757569);
    near(compared.difference.low, -0.13541666666666663);
    near(compared.difference.high, 0.3076923076923076);
    near(compared.p_value, 0.5077);
}

#[test]
fn areas_with_ties_are_those_of_scikit_learn() {
    agree(roc_auc(&truth(), &SCORE), 0.8080808080808081);
    agree(roc_auc(&truth(), &SCORE.map(|score| -score)), 0.19191919191919193);
    agree(roc_auc(&truth(), &[0.5; 20]), 0.5);
    agree(roc_auc(&[false, false, true, true], &[0.1, 0.5, 0.5, 0.9]), 0.875);
}

#[test]
fn the_threshold_is_the_cut_that_scikit_learn_finds_best() {
    let cut = best_threshold(&truth(), &SCORE);
    agree(cut, 0.6);
    let counts = Confusion::at_threshold(&truth(), &SCORE, cut.expect("a cut"));
    agree(counts.balanced_accuracy(), 0.7626262626262625);
}

#[test]
fn zero_denominators_are_those_of_scikit_learn() {
    let nothing_called_positive = Confusion { tn: 2, fn_: 2, ..Confusion::default() };
    agree(nothing_called_positive.accuracy(), 0.5);
    assert_eq!(nothing_called_positive.precision(), None);
    agree(nothing_called_positive.recall(), 0.0);
    agree(nothing_called_positive.specificity(), 1.0);
    agree(nothing_called_positive.f1(), 0.0);
    let nothing_positive = Confusion { tn: 3, ..Confusion::default() };
    agree(nothing_positive.accuracy(), 1.0);
    assert_eq!(nothing_positive.precision(), None);
    assert_eq!(nothing_positive.recall(), None);
    agree(nothing_positive.specificity(), 1.0);
    assert_eq!(nothing_positive.f1(), None);
}

#[test]
fn macro_averages_are_those_of_scikit_learn() {
    let report = evaluate_multi(&MULTI_TRUTH, &multi_probs(), 3, None, 42, 100);
    assert_eq!(report.rows, 12);
    agree(report.metric(&accuracy::METRIC).value, 0.6666666666666666);
    agree(report.metric(&precision::METRIC).value, 0.7000000000000001);
    agree(report.metric(&recall::METRIC).value, 0.6722222222222222);
    agree(report.metric(&f1::METRIC).value, 0.6626984126984127);
    agree(report.metric(&specificity::METRIC).value, 0.8425925925925926);
    agree(report.metric(&definitions::roc_auc::METRIC).value, 0.8320326278659612);
    agree(report.metric(&definitions::log_loss::METRIC).value, 0.7805383148198519);
    agree(roc_auc_ovr(&MULTI_TRUTH, &multi_probs(), 3), 0.8320326278659612);
}

#[test]
fn macro_averages_leave_out_what_is_undefined_as_scikit_learn_does() {
    let mut counts = MultiConfusion::new(4);
    for (truth, predicted) in [(0, 0), (0, 3), (1, 0), (3, 3)] {
        counts.add(truth, predicted, 1);
    }
    agree(counts.accuracy(), 0.5);
    agree(counts.macro_precision(), 0.5);
    agree(counts.macro_recall(), 0.5);
    agree(counts.macro_f1(), 0.38888888888888884);
    agree(counts.macro_specificity(), 0.7916666666666666);
}
