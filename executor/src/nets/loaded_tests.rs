//! Tests of losses, their gradients and probabilities against computations by hand.

use tch::{Kind, Tensor};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::{Architecture, Loss};

use crate::nets::layout::to_vec;
use crate::nets::loaded::{LoadedNet, initial_state};
use crate::testing::definition;

fn loaded(loss: Loss, positive: usize) -> LoadedNet {
    let definition = ModelDefinition { loss, positive: Some(positive), ..definition(Architecture::CNN) };
    LoadedNet::new(&definition, &initial_state(&definition), "the start").unwrap()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn assert_near(found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    assert!(found.iter().zip(wanted).all(|(f, w)| (f64::from(*f) - w).abs() < 1e-6), "{found:?} is not {wanted:?}");
}

#[test]
fn one_logit_is_the_score_of_the_positive_class_for_either_order_of_classes() {
    let (outputs, classes) = (Tensor::from_slice(&[1.5_f32, -0.5]).view([2, 1]), Tensor::from_slice(&[0_i64, 1]));
    let losses = |loss, positive| to_vec(&loaded(loss, positive).row_losses(&outputs, &classes).unwrap()).unwrap();
    let (p, q) = (sigmoid(1.5), sigmoid(-0.5));
    assert_near(&losses(Loss::BinaryCrossentropy, 1), &[-(1.0 - p).ln(), -q.ln()]);
    assert_near(&losses(Loss::BinaryCrossentropy, 0), &[-p.ln(), -(1.0 - q).ln()]);
    assert_near(&losses(Loss::MeanSquaredError, 1), &[p * p, (q - 1.0).powi(2)]);
    assert_near(&losses(Loss::MeanSquaredError, 0), &[(p - 1.0).powi(2), q * q]);
    // A hinge loss is the distance to the margin: for class 0, 1.5 is 2.5 away from -1; for class 1, -0.5 is 1.5 away
    // from 1. With class 0 positive, 1.5 is beyond the margin, and -0.5 is 0.5 away from -1.
    assert_near(&losses(Loss::Hinge, 1), &[2.5, 1.5]);
    assert_near(&losses(Loss::Hinge, 0), &[0.0, 0.5]);
    let probabilities = |positive| loaded(Loss::BinaryCrossentropy, positive).probabilities(&outputs).unwrap();
    assert_near(&probabilities(1), &[1.0 - p, p, 1.0 - q, q]);
    assert_near(&probabilities(0), &[p, 1.0 - p, q, 1.0 - q]);
}

#[test]
fn one_logit_per_class_gives_a_softmax() {
    let rows = [[0.2_f64, 1.0, -0.7], [3.0, 0.0, 0.5]];
    let values: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
    let (outputs, classes) = (Tensor::from_slice(&values).view([2, 3]), Tensor::from_slice(&[2_i64, 0]));
    let softmax = rows.map(|row| {
        let sum: f64 = row.iter().map(|v| v.exp()).sum();
        row.map(|v| v.exp() / sum)
    });
    let (a, b) = (softmax[0], softmax[1]);
    let losses = |loss| to_vec(&loaded(loss, 1).row_losses(&outputs, &classes).unwrap()).unwrap();
    assert_near(&losses(Loss::CategoricalCrossentropy), &[-a[2].ln(), -b[0].ln()]);
    let squares =
        [a[0].powi(2) + a[1].powi(2) + (a[2] - 1.0).powi(2), (b[0] - 1.0).powi(2) + b[1].powi(2) + b[2].powi(2)];
    assert_near(&losses(Loss::MeanSquaredError), &squares);
    // The logit of the true class should be above 1, and those of the other classes below -1.
    assert_near(&losses(Loss::Hinge), &[1.2 + 2.0 + 1.7, 0.0 + 1.0 + 1.5]);
    let probabilities = loaded(Loss::CategoricalCrossentropy, 1).probabilities(&outputs).unwrap();
    assert_near(&probabilities, softmax.as_flattened());
}

/// The gradients of the losses of rows by their outputs, `[n, width]`.
fn gradients(loaded: &LoadedNet, outputs: &[f32], classes: &[i64]) -> Vec<f32> {
    let outputs = Tensor::from_slice(outputs).view([classes.len() as i64, -1]).set_requires_grad(true);
    let losses = loaded.row_losses(&outputs, &Tensor::from_slice(classes)).unwrap();
    to_vec(&Tensor::run_backward(&[losses.sum(Kind::Float)], &[&outputs], false, false).remove(0)).unwrap()
}

#[test]
fn gradients_of_one_logit_equal_their_closed_forms() {
    let (outputs, classes) = ([1.5_f32, -0.5, 0.25, -2.0, 3.0, -0.75], [0_i64, 1, 1, 0, 1, 0]);
    for positive in [0, 1] {
        let found = |loss| gradients(&loaded(loss, positive), &outputs, &classes);
        // `slope` gets a logit and 1 for the positive class, 0 for the other.
        let wanted = |slope: fn(f64, f64) -> f64| -> Vec<f64> {
            let rows = outputs.iter().zip(classes);
            rows.map(|(z, class)| slope(f64::from(*z), f64::from(u8::from(class == positive as i64)))).collect()
        };
        assert_near(&found(Loss::BinaryCrossentropy), &wanted(|z, y| sigmoid(z) - y));
        let brier = wanted(|z, y| 2.0 * (sigmoid(z) - y) * sigmoid(z) * (1.0 - sigmoid(z)));
        assert_near(&found(Loss::MeanSquaredError), &brier);
        // The gradient is -1 for the positive side and 1 for the other, and 0 beyond the margin.
        let hinge = wanted(|z, y| {
            let side = 2.0 * y - 1.0;
            if z * side < 1.0 { -side } else { 0.0 }
        });
        assert_near(&found(Loss::Hinge), &hinge);
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|z| z.exp()).sum();
    row.iter().map(|z| z.exp() / sum).collect()
}

#[test]
fn gradients_of_one_logit_per_class_equal_their_closed_forms() {
    for width in [2_usize, 3] {
        let outputs: Vec<f32> = (0..6 * width).map(|i| 2.0 * ((i * i + 1) as f32).sin()).collect();
        let classes: Vec<i64> = (0..6).map(|row| (row * row % width) as i64).collect();
        let found = |loss| gradients(&loaded(loss, 1), &outputs, &classes);
        // `slopes` gets the logits of a row and its one-hot class.
        let wanted = |slopes: fn(&[f64], &[f64]) -> Vec<f64>| -> Vec<f64> {
            let rows = outputs.chunks_exact(width).zip(&classes);
            rows.flat_map(|(row, class)| {
                let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
                let truth: Vec<f64> = (0..width as i64).map(|c| f64::from(u8::from(c == *class))).collect();
                slopes(&row, &truth)
            })
            .collect()
        };
        let crossentropy = wanted(|row, truth| softmax(row).iter().zip(truth).map(|(p, y)| p - y).collect());
        assert_near(&found(Loss::CategoricalCrossentropy), &crossentropy);
        let brier = wanted(|row, truth| {
            let p = softmax(row);
            let mean: f64 = p.iter().zip(truth).map(|(p, y)| p * (p - y)).sum();
            p.iter().zip(truth).map(|(p, y)| 2.0 * p * (p - y - mean)).collect()
        });
        assert_near(&found(Loss::MeanSquaredError), &brier);
        let hinge = wanted(|row, truth| {
            let sides = truth.iter().map(|y| 2.0 * y - 1.0);
            row.iter().zip(sides).map(|(z, side)| if z * side < 1.0 { -side } else { 0.0 }).collect()
        });
        assert_near(&found(Loss::Hinge), &hinge);
    }
}
