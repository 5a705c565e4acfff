//! Fits the tensors of another model or file to a net.

use tusk_core::state::{ModelState, NamedTensor};
use tusk_core::transfer::{Transfer, UNUSED_MAX};

/// The state to start from: of each tensor the file's, where it has one that fits, else the one of the seed.
///
/// A convolution `[outputs, 3, k, k]` where the net's has one input is summed over its inputs, which gives for a grey
/// picture what the three-channel net gives for the same picture in three equal channels; in the other direction it is
/// spread over the three.
pub(crate) fn fit(theirs: &ModelState, ours: &ModelState) -> (ModelState, Transfer) {
    let mut transfer = Transfer::default();
    let fitted: Vec<NamedTensor> = ours
        .iter()
        .map(|tensor| match theirs.get(&tensor.name) {
            Some(their) if their.shape == tensor.shape => {
                transfer.taken += 1;
                their.clone()
            }
            their => match their.and_then(|their| with_channels_of(their, &tensor.shape)) {
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
    let unused = theirs.iter().filter(|their| ours.get(&their.name).is_none());
    transfer.unused = unused.take(UNUSED_MAX).map(|their| their.name.clone()).collect();
    (ModelState::new(fitted), transfer)
}

/// A convolution for pictures of another number of channels, where that is all that differs.
fn with_channels_of(theirs: &NamedTensor, shape: &[usize]) -> Option<NamedTensor> {
    let (&[outputs, from, rows, columns], &[our_outputs, to, our_rows, our_columns]) = (&theirs.shape[..], shape)
    else {
        return None;
    };
    if (outputs, rows, columns) != (our_outputs, our_rows, our_columns) || !matches!((from, to), (3, 1) | (1, 3)) {
        return None;
    }
    let kernel = rows * columns;
    let data = theirs.data.chunks_exact((from * kernel).max(1)).flat_map(|inputs| {
        let sum: Vec<f32> = (0..kernel).map(|place| inputs.iter().skip(place).step_by(kernel).sum::<f32>()).collect();
        (0..to).flat_map(move |_| sum.clone()).map(move |value| value / to as f32)
    });
    Some(NamedTensor { name: theirs.name.clone(), shape: shape.to_vec(), data: data.collect() })
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
    fn what_fits_is_taken_and_the_rest_is_named() {
        let ours = ModelState::new([
            tensor("conv1.weight", &[2, 1, 1, 2], &[0.0; 4]),
            tensor("bn1.bias", &[2], &[0.0; 2]),
            tensor("fc.weight", &[1, 2], &[7.0, 8.0]),
            tensor("fc.bias", &[1], &[9.0]),
        ]);
        let theirs = ModelState::new([
            tensor("conv1.weight", &[2, 3, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, 0.0, 0.25, 0.0, 0.0, 1.0]),
            tensor("bn1.bias", &[2], &[3.0, 4.0]),
            tensor("fc.weight", &[1000, 2], &[1.0; 2000]),
            tensor("aux.bias", &[1], &[1.0]),
        ]);
        let (state, transfer) = fit(&theirs, &ours);
        let wanted = Transfer {
            taken: 1,
            adapted: names(&["conv1.weight"]),
            fresh: names(&["fc.bias", "fc.weight"]),
            unused: names(&["aux.bias"]),
        };
        assert_eq!(transfer, wanted);
        // 1 + 3 + 5, 2 + 4 + 6, and so on.
        assert_eq!(state.get("conv1.weight"), Some(&tensor("conv1.weight", &[2, 1, 1, 2], &[9.0, 12.0, 0.75, 1.0])));
        assert_eq!(state.get("bn1.bias"), theirs.get("bn1.bias"));
        assert_eq!(state.get("fc.weight"), ours.get("fc.weight"));
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
}
