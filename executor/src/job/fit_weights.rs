//! Fits the weights of another model or file to the net of a run.

use tusk_core::job::{FitWeights, FitWeightsReport, TaskReport};
use tusk_core::nets::NETS;
use tusk_core::state::{ModelState, NamedTensor};
use tusk_core::transfer::{Transfer, UNUSED_MAX};

use super::Work;
use crate::error::Result;
use crate::nets::loaded::initial_state;

pub(super) async fn run(work: Work, job: FitWeights) -> Result<()> {
    if work.worker.id.0 > 0 {
        return work.compute(move |work| work.report(&job, FitWeightsReport::default())).await;
    }
    let state = work.state(Some(&job.weights)).await?;
    work.compute(move |work| {
        let (fitted, transfer) = fit(&state, &initial_state(&work.worker.task.definition));
        work.report(&job, FitWeightsReport { task: TaskReport::of_rows(1), transfer: Some(transfer) })?;
        fitted.iter().try_for_each(|tensor| work.send_tensor(tensor))
    })
    .await
}

/// Returns the initial state of the run. Each tensor comes from `source` if its shape fits, and from `initial`
/// otherwise.
///
/// If a convolution `[outputs, 3, k, k]` meets a net with one input channel, its weights are summed over the input
/// channels. A grey image then gives the same outputs as three equal channels give in the original net. In the other
/// direction, the weights are divided equally among the three channels. The same holds for stems that fold squares of
/// pixels into channels, because the channels of one colour are adjacent.
fn fit(source: &ModelState, initial: &ModelState) -> (ModelState, Transfer) {
    let mut transfer = Transfer::default();
    let fitted: Vec<NamedTensor> = initial
        .iter()
        .map(|tensor| match source.get(&tensor.name) {
            Some(found) if found.shape == tensor.shape => {
                transfer.taken += 1;
                found.clone()
            }
            found => match found.and_then(|found| with_channels_of(found, &tensor.shape)) {
                Some(adapted) => {
                    transfer.adapted.push(tensor.name.clone());
                    adapted
                }
                None => {
                    transfer.fresh.push(tensor.name.clone());
                    tensor.clone()
                }
            },
        })
        .collect();
    let unused = source.iter().filter(|found| initial.get(&found.name).is_none());
    transfer.unused = unused.take(UNUSED_MAX).map(|found| found.name.clone()).collect();
    (ModelState::new(fitted), transfer)
}

/// Adapts a first convolution to another number of image channels. Returns `None` if anything else differs.
fn with_channels_of(source: &NamedTensor, shape: &[usize]) -> Option<NamedTensor> {
    let (&[outputs, from, rows, columns], &[wanted_outputs, to, wanted_rows, wanted_columns]) =
        (&source.shape[..], shape)
    else {
        return None;
    };
    let per_colour = from.min(to);
    if (outputs, rows, columns) != (wanted_outputs, wanted_rows, wanted_columns) || from.max(to) != 3 * per_colour {
        return None;
    }
    // A colour has one channel, or as many as the pixels of a square that a stem folds.
    let per_colour_of_a_net = |inputs: i64| usize::try_from(inputs) == Ok(per_colour);
    if !NETS.iter().any(|net| per_colour_of_a_net(net.inputs_per_channel())) {
        return None;
    }
    // The number of weights of one colour in one output.
    let plane = per_colour * rows * columns;
    let colours = to / per_colour;
    let data = source.data.chunks_exact((from * rows * columns).max(1)).flat_map(|inputs| {
        let sum: Vec<f32> = (0..plane).map(|place| inputs.iter().skip(place).step_by(plane).sum::<f32>()).collect();
        (0..colours).flat_map(move |_| sum.clone()).map(move |value| value / colours as f32)
    });
    Some(NamedTensor { name: source.name.clone(), shape: shape.to_vec(), data: data.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], data: &[f32]) -> NamedTensor {
        NamedTensor { name: name.to_owned(), shape: shape.to_vec(), data: data.to_vec() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn fitting_tensors_are_taken_and_the_others_are_listed() {
        let initial = ModelState::new([
            tensor("conv1.weight", &[2, 1, 1, 2], &[0.0; 4]),
            tensor("bn1.bias", &[2], &[0.0; 2]),
            tensor("fc.weight", &[1, 2], &[7.0, 8.0]),
            tensor("fc.bias", &[1], &[9.0]),
        ]);
        let source = ModelState::new([
            tensor("conv1.weight", &[2, 3, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, 0.0, 0.25, 0.0, 0.0, 1.0]),
            tensor("bn1.bias", &[2], &[3.0, 4.0]),
            tensor("fc.weight", &[1000, 2], &[1.0; 2000]),
            tensor("aux.bias", &[1], &[1.0]),
        ]);
        let (state, transfer) = fit(&source, &initial);
        let wanted = Transfer {
            taken: 1,
            adapted: names(&["conv1.weight"]),
            fresh: names(&["fc.bias", "fc.weight"]),
            unused: names(&["aux.bias"]),
        };
        assert_eq!(transfer, wanted);
        // 1 + 3 + 5, 2 + 4 + 6, and so on.
        assert_eq!(state.get("conv1.weight"), Some(&tensor("conv1.weight", &[2, 1, 1, 2], &[9.0, 12.0, 0.75, 1.0])));
        assert_eq!(state.get("bn1.bias"), source.get("bn1.bias"));
        assert_eq!(state.get("fc.weight"), initial.get("fc.weight"));
        assert_eq!(state.iter().count(), 4);
    }

    #[test]
    fn a_grey_convolution_is_spread_over_three_channels() {
        let grey = tensor("c", &[1, 1, 1, 2], &[3.0, 6.0]);
        let found = with_channels_of(&grey, &[1, 3, 1, 2]).unwrap();
        assert_eq!(found.data, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        for other in [&[1, 1, 3, 3][..], &[2, 3, 1, 2], &[1, 2, 1, 2], &[1, 3]] {
            assert_eq!(with_channels_of(&grey, other), None);
        }
    }

    #[test]
    fn a_stem_that_folds_pixels_is_summed_colour_by_colour() {
        // Two outputs with three colours of 16 folded pixels each. The values of the colours differ by 100.
        let value = |at: usize| (at / 48 * 1000 + at % 48 / 16 * 100 + at % 16) as f32;
        let colours = tensor("conv1.weight", &[2, 48, 1, 1], &(0..96).map(value).collect::<Vec<f32>>());
        let grey = with_channels_of(&colours, &[2, 16, 1, 1]).unwrap();
        let wanted: Vec<f32> = (0..32).map(|at| (at / 16 * 3000 + 300 + 3 * (at % 16)) as f32).collect();
        assert_eq!(grey.data, wanted);
        let spread = with_channels_of(&grey, &[2, 48, 1, 1]).unwrap();
        assert_eq!((spread.data[0], spread.data[17], spread.data[95]), (100.0, 101.0, 1115.0));
        let deeper = tensor("layer", &[2, 96, 1, 1], &[0.0; 192]);
        assert_eq!(with_channels_of(&deeper, &[2, 32, 1, 1]), None);
    }
}
