//! Receives a push piece by piece. A push is refused at its first error, and applied only if it is complete.

use std::collections::BTreeSet;

use tusk_core::protocol::parameters::{PIECE_BYTES_MAX, Piece, Push, PushKind};
use tusk_core::state::NamedTensor;

use super::store::ParameterStore;
use super::{MODEL_BYTES_MAX, Refusal, TENSORS_MAX};

/// The tensors of a push that are received so far.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    store: &'a ParameterStore,
    kind: PushKind,
    worker: u32,
    /// The number of tensors of the push.
    wanted: usize,
    names: BTreeSet<String>,
    done: Vec<NamedTensor>,
    current: Option<Current>,
    /// The number of values in the shapes received so far.
    values: usize,
}

#[derive(Debug)]
struct Current {
    tensor: NamedTensor,
    numel: usize,
    pieces: u32,
}

impl<'a> Incoming<'a> {
    /// Creates the receiver of a push.
    pub(super) fn new(store: &'a ParameterStore, push: &Push) -> Result<Self, Refusal> {
        let this = Self {
            store,
            kind: push.kind,
            worker: push.worker.0,
            wanted: push.tensors as usize,
            names: BTreeSet::new(),
            done: Vec::new(),
            current: None,
            values: 0,
        };
        if push.tensors == 0 || push.tensors > TENSORS_MAX {
            return Err(this.malformed(&format!("it has {} tensors; 1 to {TENSORS_MAX} are allowed", push.tensors)));
        }
        if push.kind == PushKind::Update && this.wanted != store.tensors() {
            return Err(this.malformed(&format!("it has {} tensors, the model has {}", push.tensors, store.tensors())));
        }
        Ok(this)
    }

    fn malformed(&self, reason: &str) -> Refusal {
        Refusal::Malformed { what: "push", reason: format!("worker {}: {reason}", self.worker) }
    }

    /// Receives the next piece.
    pub(super) fn piece(&mut self, piece: Piece, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > PIECE_BYTES_MAX || !bytes.len().is_multiple_of(4) {
            let reason = format!("a piece has {} bytes, not a multiple of 4 up to {PIECE_BYTES_MAX}", bytes.len());
            return Err(self.malformed(&reason));
        }
        match (self.current.take(), piece.shape) {
            (None, Some(shape)) if piece.piece == 0 => self.begin(piece.name, shape)?,
            (Some(current), None) if current.tensor.name == piece.name && current.pieces == piece.piece => {
                self.current = Some(current);
            }
            _ => return Err(self.malformed(&format!("piece {} of {} is out of order", piece.piece, piece.name))),
        }
        self.fill(bytes)
    }

    fn begin(&mut self, name: String, shape: Vec<usize>) -> Result<(), Refusal> {
        if self.names.len() >= self.wanted || !self.names.insert(name.clone()) {
            return Err(self.malformed(&format!("tensor {name} is repeated or unexpected")));
        }
        match self.store.shape(&name) {
            None if self.kind == PushKind::Update => {
                return Err(self.malformed(&format!("the model has no tensor {name}")));
            }
            Some(ours) if ours != shape => {
                return Err(self.malformed(&format!("{name} is {shape:?} and should be {ours:?}")));
            }
            _ => {}
        }
        let numel = shape.iter().try_fold(1_usize, |numel, side| numel.checked_mul(*side));
        let numel = numel.filter(|numel| {
            self.values.checked_add(*numel).is_some_and(|values| values <= MODEL_BYTES_MAX / size_of::<f32>())
        });
        let numel = numel.ok_or_else(|| {
            self.malformed(&format!("with {name} of shape {shape:?}, it is larger than {MODEL_BYTES_MAX} bytes"))
        })?;
        self.values += numel;
        // Before the start push there is no model to check shapes against. Memory then grows with the received values.
        let capacity = if self.kind == PushKind::Update { numel } else { 0 };
        let data = Vec::with_capacity(capacity);
        self.current = Some(Current { tensor: NamedTensor { name, shape, data }, numel, pieces: 0 });
        Ok(())
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(mut current) = self.current.take() else {
            return Err(self.malformed("its values came before their tensor"));
        };
        let name = &current.tensor.name;
        let (chunks, _) = bytes.as_chunks::<4>();
        if current.tensor.data.len() + chunks.len() > current.numel || (chunks.is_empty() && current.numel > 0) {
            return Err(self.malformed(&format!("wrong number of values: {name} has shape {:?}", current.tensor.shape)));
        }
        let is_variance = name.ends_with(".running_var");
        for chunk in chunks {
            let value = f32::from_le_bytes(*chunk);
            if !value.is_finite() || (is_variance && value < 0.0) {
                let index = current.tensor.data.len();
                let reason = format!("value {index} of {name} is {value}; lower the learning rate");
                return Err(Refusal::Values { worker: self.worker, reason });
            }
            current.tensor.data.push(value);
        }
        current.pieces += 1;
        if current.tensor.data.len() == current.numel {
            self.done.push(current.tensor);
        } else {
            self.current = Some(current);
        }
        Ok(())
    }

    /// Returns the tensors if all are received.
    pub(super) fn finish(self) -> Result<Vec<NamedTensor>, Refusal> {
        if self.current.is_some() || self.done.len() != self.wanted {
            return Err(self.malformed(&format!("{} of {} tensors were received", self.done.len(), self.wanted)));
        }
        Ok(self.done)
    }
}
