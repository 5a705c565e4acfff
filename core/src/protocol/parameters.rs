//! What workers and the parameter server say to each other, over Arrow Flight.
//!
//! A **pull** is a `DoGet` whose ticket is a protobuf `Any` of type [`PULL_TYPE_URL`] with a [`Pull`] as JSON in it. The
//! first message of the answer carries [`Pulled`] as JSON in its `app_metadata`; the tensors follow.
//!
//! A **push** is a `DoPut` whose first message's descriptor has a command, an `Any` of type [`PUSH_TYPE_URL`] with a
//! [`Push`] as JSON in it; the tensors follow. The answer is one `PutResult` with [`Pushed`] as JSON.
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

/// The most bytes of values in one message.
pub const PIECE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The most bytes of a message's JSON.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// What the parameter server knows this life of a run by: a secret of the run's tasks, so that nobody else can push, nor
/// a task of before a restart. The service is that of the executor's scheduler.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey(pub String);

impl fmt::Debug for SessionKey {
    /// Without the secret.
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
    /// Shows that it may ask.
    pub session: SessionKey,
    /// Who asks.
    pub worker: WorkerId,
    /// What the service called this try of the worker's task; `None` asks for a name, and ends the tries before.
    pub attempt: Option<u64>,
    /// The version that the worker has.
    pub have_version: Option<u64>,
}

/// What a pull gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// What the service calls this try of the worker's task.
    pub attempt: u64,
    /// The version of the weights: how many pushes are in it.
    pub version: u64,
    /// The worker's last push that was applied; it goes on with the next.
    pub step: u64,
    /// Whether the worker is to stop.
    pub stop: bool,
    /// What follows.
    pub weights: PulledWeights,
}

/// What follows the first message of a pull's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PulledWeights {
    /// Nothing: the service has no weights yet. The worker pushes those it was told to start from.
    Missing,
    /// Nothing: the worker has them.
    Unchanged,
    /// This many tensors.
    Follow(u32),
}

/// What a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushKind {
    /// The weights to start from. The first to come is taken; all are the same.
    Start,
    /// What the worker changed since its last pull: differences of learned tensors, values of running statistics.
    Update,
}

/// Gives what a worker learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// [`super::WIRE_VERSION`].
    pub wire_version: u32,
    /// The run.
    pub run: RunId,
    /// Shows that it may ask.
    pub session: SessionKey,
    /// Who pushes.
    pub worker: WorkerId,
    /// What the service called this try of the worker's task.
    pub attempt: u64,
    /// What it is.
    pub kind: PushKind,
    /// The number of the worker's push, from 1; 0 for a start.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// Whether it is the worker's last of this epoch.
    pub ends_epoch: bool,
    /// The version that was pulled before.
    pub base_version: u64,
    /// Rows trained on since.
    pub rows: u64,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Where the time went since.
    pub timing: Timing,
    /// How many tensors follow.
    pub tensors: u32,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whether it was applied; a push that was applied before is not applied again.
    pub applied: bool,
    /// The version after it.
    pub version: u64,
    /// The worker's last push that was applied.
    pub step: u64,
    /// Whether the worker is to stop.
    pub stop: bool,
}

/// What a message of values belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The tensor.
    pub name: String,
    /// Which piece of it, from 0.
    pub piece: u32,
    /// Its shape, with the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
}

/// Values in one message.
const PIECE_VALUES: usize = PIECE_BYTES_MAX / size_of::<f32>();

/// How many messages a tensor of so many values takes.
#[must_use]
pub fn pieces(values: usize) -> u32 {
    u32::try_from(values.div_ceil(PIECE_VALUES).max(1)).unwrap_or(u32::MAX)
}

/// One message of a tensor: its header and its bytes.
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
    fn a_tensor_is_cut_into_pieces_that_fit_a_message_and_lose_nothing() {
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
