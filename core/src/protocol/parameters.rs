//! The messages between workers and the parameter server, over Arrow Flight.
//!
//! A **pull** is a `DoGet` whose ticket is a protobuf `Any` of type [`PULL_TYPE_URL`] with a [`Pull`] as JSON in it.
//! The first message of the response carries [`Pulled`] as JSON in its `app_metadata`; the tensors follow.
//!
//! A **push** is a `DoPut` whose first message's descriptor has a command, an `Any` of type [`PUSH_TYPE_URL`] with a
//! [`Push`] as JSON in it; the tensors follow. The response is one `PutResult` with [`Pushed`] as JSON.
//!
//! **Tensors** travel in pieces of at most [`PIECE_BYTES_MAX`]: one message each, with a [`Piece`] as JSON in its
//! `app_metadata` and little-endian f32 values in its body. The pieces of a tensor follow each other in order.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, WorkerId};
use crate::manifest::Timing;
use crate::physical::MESSAGE_BYTES_MAX;

/// The type of a pull's `Any`.
pub const PULL_TYPE_URL: &str = "type.googleapis.com/tusk.Pull";

/// The type of a push's `Any`.
pub const PUSH_TYPE_URL: &str = "type.googleapis.com/tusk.Push";

/// Maximum bytes of values in one message.
pub const PIECE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Maximum bytes of the JSON of a message.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// The secret that identifies a run at the parameter server. Only tasks of the run know it, and it changes when the run
/// restarts, so older tasks cannot push. The parameter server is part of the scheduler of the executor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey(pub String);

impl fmt::Debug for SessionKey {
    /// Hides the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(...)")
    }
}

/// Asks for the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// [`super::WIRE_VERSION`].
    pub wire_version: u32,
    /// The run.
    pub run: RunId,
    /// The secret of the run.
    pub session: SessionKey,
    /// The worker.
    pub worker: WorkerId,
    /// The attempt number of the task. `None` requests a new number and ends earlier attempts.
    pub attempt: Option<u64>,
    /// The version that the worker has.
    pub have_version: Option<u64>,
}

/// The response to a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The attempt number of the task.
    pub attempt: u64,
    /// The version of the weights, which is the number of pushes applied.
    pub version: u64,
    /// The last applied push of the worker. The worker continues with the next one.
    pub step: u64,
    /// Whether the worker must stop.
    pub stop: bool,
    /// The content that follows.
    pub weights: PulledWeights,
}

/// The content after the first message of the response to a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PulledWeights {
    /// Nothing, because the parameter server has no weights yet. The worker pushes its initial weights.
    Missing,
    /// Nothing, because the worker already has this version.
    Unchanged,
    /// This many tensors.
    Follow(u32),
}

/// The kind of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushKind {
    /// The initial weights. They are the same for all workers, and the first push is used.
    Start,
    /// The changes since the last pull: differences of learned tensors and values of running statistics.
    Update,
}

/// Sends the changes of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// [`super::WIRE_VERSION`].
    pub wire_version: u32,
    /// The run.
    pub run: RunId,
    /// The secret of the run.
    pub session: SessionKey,
    /// The worker.
    pub worker: WorkerId,
    /// The attempt number of the task.
    pub attempt: u64,
    /// The kind of push.
    pub kind: PushKind,
    /// The number of the worker's push, from 1; 0 for a start.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// Whether it is the last push of the worker in this epoch.
    pub ends_epoch: bool,
    /// The version of the last pull.
    pub base_version: u64,
    /// Rows trained on since the last push.
    pub rows: u64,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Times since the last push.
    pub timing: Timing,
    /// How many tensors follow.
    pub tensors: u32,
}

/// The response to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whether it was applied. A repeated push is not applied again.
    pub applied: bool,
    /// The version after the push.
    pub version: u64,
    /// The last applied push of the worker.
    pub step: u64,
    /// Whether the worker must stop.
    pub stop: bool,
}

/// The header of a message with values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The tensor.
    pub name: String,
    /// The index of the piece, from 0.
    pub piece: u32,
    /// Its shape, with the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
}

/// Values in one message.
const PIECE_VALUES: usize = PIECE_BYTES_MAX / size_of::<f32>();

/// Returns the number of messages for a tensor with this many values.
#[must_use]
pub fn pieces(values: usize) -> u32 {
    u32::try_from(values.div_ceil(PIECE_VALUES).max(1)).unwrap_or(u32::MAX)
}

/// Returns the header and the bytes of one message of a tensor.
#[must_use]
pub fn piece_of(name: &str, shape: &[usize], values: &[f32], piece: u32) -> (Piece, Vec<u8>) {
    let start = (piece as usize).saturating_mul(PIECE_VALUES).min(values.len());
    let values = &values[start..(start + PIECE_VALUES).min(values.len())];
    let mut bytes = Vec::with_capacity(size_of_val(values));
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    let shape = (piece == 0).then(|| shape.to_vec());
    (Piece { name: name.to_owned(), piece, shape }, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_split_into_pieces_that_fit_a_message() {
        let values: Vec<f32> = (0..PIECE_VALUES * 2 + 5).map(|i| i as f32).collect();
        assert_eq!([0, 1, PIECE_VALUES, PIECE_VALUES + 1, values.len()].map(pieces), [1, 1, 1, 2, 3]);
        let mut joined = Vec::new();
        for number in 0..pieces(values.len()) {
            let (piece, bytes) = piece_of("w", &[values.len()], &values, number);
            assert_eq!((piece.piece, piece.shape.is_some()), (number, number == 0));
            assert!(bytes.len() <= PIECE_BYTES_MAX);
            joined.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        assert!(joined == values);
        assert_eq!(piece_of("empty", &[0], &[], 0).1.len(), 0);
    }

    #[test]
    fn a_session_key_does_not_show_its_secret() {
        assert!(!format!("{:?}", SessionKey("secret".into())).contains("secret"));
    }
}
