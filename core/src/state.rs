//! Named tensors: the weights of a model, and between epochs the optimizer's moments with them.
//!
//! They travel and rest as safetensors, which is read without running anything.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::{Error, Result};

/// Tensors whose names start so belong to the optimizer: they are averaged and resumed, but not published.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Whether a tensor of this name is a running statistic of BatchNorm: an estimate, not something that is learned. It is
/// only ever averaged; a step along a difference could make a variance negative.
#[must_use]
pub fn is_running_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

/// A dense f32 tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, as torchvision names it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values; as many as the product of the shape.
    pub data: Vec<f32>,
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(&self.data))
        } else {
            Cow::Owned(self.data.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    }

    fn data_len(&self) -> usize {
        size_of_val(self.data.as_slice())
    }
}

/// All tensors of one version of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelState {
    /// The tensors, sorted by name, no name twice.
    tensors: BTreeMap<String, NamedTensor>,
}

impl ModelState {
    /// A state of these tensors; of two with one name the later stays.
    #[must_use]
    pub fn new(tensors: impl IntoIterator<Item = NamedTensor>) -> Self {
        Self { tensors: tensors.into_iter().map(|t| (t.name.clone(), t)).collect() }
    }

    /// The tensors, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &NamedTensor> {
        self.tensors.values()
    }

    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name)
    }

    /// Number of values of the model itself, without the optimizer's.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.iter().filter(|t| !t.name.starts_with(OPTIMIZER_PREFIX)).map(|t| t.data.len()).sum()
    }

    /// The same model without what only training needs.
    #[must_use]
    pub fn without_optimizer(&self) -> Self {
        Self::new(self.iter().filter(|t| !t.name.starts_with(OPTIMIZER_PREFIX)).cloned())
    }

    /// The state as a safetensors file. Equal states give equal bytes.
    ///
    /// # Errors
    /// [`Error::Wire`] when a tensor's shape does not fit its data.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let tensors = self.iter().map(|tensor| (tensor.name.as_str(), tensor));
        safetensors::serialize(tensors, None::<HashMap<String, String>>)
            .map_err(|e| Error::Wire { what: "model state", reason: e.to_string() })
    }

    /// The state in a safetensors file whose checksum is known.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the bytes are not those that were written, or are no safetensors of f32.
    pub fn from_safetensors(path: &str, bytes: &[u8], checksum: &str) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let found = self::checksum(bytes);
        if found != checksum {
            return Err(damaged(format!("its checksum is {found} and should be {checksum}")));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor {name} is {:?} and should be F32", view.dtype())));
            }
            let data = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
        }
        Ok(Self::new(tensors))
    }
}

/// The checksum of a file's bytes: BLAKE3, in hexadecimal.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ModelState {
        ModelState::new([
            NamedTensor { name: "fc.weight".into(), shape: vec![2, 2], data: vec![1.0, -2.5, f32::MIN_POSITIVE, 3.0] },
            NamedTensor { name: "optimizer.step".into(), shape: vec![], data: vec![7.0] },
        ])
    }

    #[test]
    fn a_state_survives_its_file_bit_for_bit() {
        let bytes = state().to_safetensors().unwrap();
        assert_eq!(bytes, state().to_safetensors().unwrap());
        assert_eq!(ModelState::from_safetensors("m", &bytes, &checksum(&bytes)).unwrap(), state());
        assert_eq!(state().without_optimizer().parameters(), 4);
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        let bent = NamedTensor { name: "fc.bias".into(), shape: vec![3], data: vec![1.0; 2] };
        assert!(ModelState::new([bent]).to_safetensors().is_err());
    }

    #[test]
    fn a_flipped_bit_and_a_cut_file_are_damage() {
        let bytes = state().to_safetensors().unwrap();
        let sum = checksum(&bytes);
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&flipped[..], &bytes[..bytes.len() - 5], &[]] {
            let message = ModelState::from_safetensors("models/m/w.safetensors", bad, &sum).unwrap_err().to_string();
            assert!(message.starts_with("models/m/w.safetensors is damaged: its checksum is "), "{message}");
        }
    }
}
