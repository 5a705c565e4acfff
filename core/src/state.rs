//! Named tensors: the weights of a model, and the moments of the optimizer in checkpoints.
//!
//! They are sent and stored as safetensors files, which contain no code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::{Error, Result};

/// Prefix of the names of optimizer tensors. They are averaged and checkpointed, but not published.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Prefix of the names of moving averages. The rest of the name is that of the averaged tensor.
pub const AVERAGE_PREFIX: &str = "optimizer.ema.";

/// Returns whether a tensor of this name is a running statistic of BatchNorm. Such tensors are only averaged, because
/// an optimizer step could make a variance negative.
#[must_use]
pub fn is_running_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

/// A dense f32 tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, as in torchvision.
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

/// The tensors of one version of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelState {
    /// The tensors, sorted by name, no name twice.
    tensors: BTreeMap<String, NamedTensor>,
}

impl ModelState {
    /// Makes a state from these tensors. Of tensors with the same name, the last is kept.
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

    /// Number of values, without those of the optimizer.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.iter().filter(|t| !t.name.starts_with(OPTIMIZER_PREFIX)).map(|t| t.data.len()).sum()
    }

    /// Bytes of all values, including those of the optimizer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|tensor| size_of_val(tensor.data.as_slice())).sum()
    }

    /// Returns the model without the tensors that only training needs.
    #[must_use]
    pub fn without_optimizer(&self) -> Self {
        Self::new(self.iter().filter(|t| !t.name.starts_with(OPTIMIZER_PREFIX)).cloned())
    }

    /// Returns the moving average of the model, if the state has one.
    #[must_use]
    pub fn moving_average(&self) -> Option<Self> {
        let average = self.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(AVERAGE_PREFIX)?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        });
        let average = Self::new(average);
        (!average.tensors.is_empty()).then_some(average)
    }

    /// Returns the tensors of one member, without the prefix of the member.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        let own = self.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(name)?.strip_prefix('.')?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        });
        Self::new(own)
    }

    /// Adds the prefix of a member to the names.
    #[must_use]
    pub fn as_member(self, member: &str) -> Self {
        Self::new(self.tensors.into_values().map(|t| NamedTensor { name: format!("{member}.{}", t.name), ..t }))
    }

    /// The tensors of several states.
    #[must_use]
    pub fn together(states: impl IntoIterator<Item = Self>) -> Self {
        Self::new(states.into_iter().flat_map(|state| state.tensors.into_values()))
    }

    /// Encodes the state as a safetensors file. Equal states give equal bytes.
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
    /// [`Error::Damaged`] if the checksum differs, or if the bytes are not a safetensors file with f32 tensors.
    pub fn from_safetensors(path: &str, bytes: &[u8], checksum: &str) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let found = self::checksum(bytes);
        if found != checksum {
            return Err(damaged(format!("its checksum is {found} and should be {checksum}")));
        }
        let file = deserialize(bytes).map_err(damaged)?;
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor {name} is {:?} and should be F32", view.dtype())));
            }
            let data = bytemuck::pod_collect_to_vec(view.data());
            tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
        }
        Ok(Self::new(tensors))
    }

    /// Reads a safetensors file of another program. Floating-point tensors of any width are converted to f32. Other
    /// tensors, such as PyTorch's batch counters, are left out.
    ///
    /// # Errors
    /// [`Error::Data`] if the bytes are not a safetensors file, or contain NaN or infinity.
    pub fn from_foreign_safetensors(location: &str, bytes: &[u8]) -> Result<Self> {
        let failed =
            |reason: String| Error::Data { message: format!("weights = '{location}' cannot be used: {reason}") };
        let no_file = |reason| failed(format!("it is not a safetensors file ({reason})"));
        let file = deserialize(bytes).map_err(no_file)?;
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            let Some(data) = floats(view.dtype(), view.data()) else { continue };
            if data.iter().any(|value| !value.is_finite()) {
                return Err(failed(format!("tensor {name} holds NaN or infinity")));
            }
            tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
        }
        Ok(Self::new(tensors))
    }
}

/// Converts little-endian floating-point values to f32. Returns `None` for other types.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F64 => Some(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()),
        Dtype::F32 => Some(bytemuck::pod_collect_to_vec(bytes)),
        Dtype::BF16 => {
            let widen = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            Some(bytes.as_chunks::<2>().0.iter().map(widen).collect())
        }
        Dtype::F16 => {
            let widen = |b: &[u8; 2]| half::f16::from_le_bytes(*b).to_f32();
            Some(bytes.as_chunks::<2>().0.iter().map(widen).collect())
        }
        _ => None,
    }
}

/// The tensors of a safetensors file.
fn deserialize(bytes: &[u8]) -> std::result::Result<SafeTensors<'_>, String> {
    SafeTensors::deserialize(bytes).map_err(|e| e.to_string())
}

/// The checksum of a file's bytes: BLAKE3, in hexadecimal.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

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
    fn a_moving_average_has_the_names_of_the_averaged_tensors() {
        assert_eq!(state().moving_average(), None);
        let average = NamedTensor { name: "optimizer.ema.fc.weight".into(), shape: vec![1], data: vec![2.0] };
        let with = ModelState::new(state().iter().cloned().chain([average.clone()]));
        let wanted = ModelState::new([NamedTensor { name: "fc.weight".into(), ..average }]);
        assert_eq!((with.moving_average(), with.without_optimizer()), (Some(wanted), state().without_optimizer()));
    }

    #[test]
    fn members_have_separate_tensors() {
        let together = ModelState::together([state().as_member("fold-1"), state().as_member("fold-10")]);
        assert_eq!(together.iter().count(), 4);
        assert_eq!((together.member("fold-1"), together.member("fold-10")), (state(), state()));
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        let bent = NamedTensor { name: "fc.bias".into(), shape: vec![3], data: vec![1.0; 2] };
        assert!(ModelState::new([bent]).to_safetensors().is_err());
    }

    #[test]
    fn a_foreign_file_may_contain_any_floats_and_counters_are_left_out() {
        let bytes_of = |values: &[u16]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let tensors = [
            ("double", Dtype::F64, [1.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()),
            ("half", Dtype::F16, bytes_of(&[0x3e00, 0xc000])),
            ("brain", Dtype::BF16, bytes_of(&[0x3fc0, 0xc000])),
            ("bn.num_batches_tracked", Dtype::I64, [7_i64, 8].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ];
        let file = |tensors: &[(&str, Dtype, Vec<u8>)]| {
            let views =
                tensors.iter().map(|(name, dtype, data)| (*name, TensorView::new(*dtype, vec![2], data).unwrap()));
            safetensors::serialize(views, None::<HashMap<String, String>>).unwrap()
        };
        let state = ModelState::from_foreign_safetensors("w", &file(&tensors)).unwrap();
        assert_eq!(state.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["brain", "double", "half"]);
        assert!(state.iter().all(|tensor| tensor.data == [1.5, -2.0]), "{state:?}");
        let infinite = [("w", Dtype::F16, bytes_of(&[0x7c00, 0]))];
        let message = ModelState::from_foreign_safetensors("a.st", &file(&infinite)).unwrap_err().to_string();
        assert_eq!(message, "weights = 'a.st' cannot be used: tensor w holds NaN or infinity");
        let message = ModelState::from_foreign_safetensors("a.st", b"PK").unwrap_err().to_string();
        assert!(message.starts_with("weights = 'a.st' cannot be used: it is not a safetensors file ("), "{message}");
    }

    #[test]
    fn a_flipped_bit_and_a_truncated_file_are_reported_as_damage() {
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
