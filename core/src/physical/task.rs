//! What a worker is asked to do, and what it reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, WorkerId};
use crate::manifest::{FileRef, ModelDefinition, Timing};
use crate::protocol::parameters::SessionKey;
use crate::transfer::Transfer;

/// Which of its rows a worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// All of them.
    All,
    /// Those that are not held out.
    Training,
    /// Those that are held out.
    HeldOut,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Decode the rows into shards and count them.
    Profile,
    /// Fit the weights of another model or file to the net, and answer with what the net starts from.
    Adapt,
    /// Train one epoch and answer with the weights.
    Train,
    /// Train all epochs, exchanging weights with the parameter service, and answer with a report alone.
    Exchange,
    /// Score rows and answer with truth and probabilities.
    Validate,
}

/// Which part of an epoch's batches a job trains: workers that are averaged several times an epoch train it in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The range of this part among so many steps.
    #[must_use]
    pub fn steps(self, total: usize) -> std::ops::Range<usize> {
        let (index, count) = (self.index as usize, (self.count as usize).max(1));
        (total.saturating_mul(index) / count)..(total.saturating_mul(index + 1) / count).min(total)
    }
}

impl Default for Part {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// One job of a run: with a worker's number and the rows it is a pure function, so that a task that is tried again,
/// anywhere, answers the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainTask {
    /// The run.
    pub run: RunId,
    /// The epoch, from 1; 0 when profiling.
    pub epoch: u32,
    /// Which part of the epoch is trained.
    #[serde(default)]
    pub part: Part,
    /// What is done.
    pub phase: Phase,
    /// With which rows.
    pub rows: Rows,
    /// The workers that share the table.
    pub workers: u32,
    /// Threads that each uses.
    pub threads: u32,
    /// The model; while profiling its classes are empty and its normalisation is not known yet.
    pub definition: ModelDefinition,
    /// The model store's URL.
    pub store: String,
    /// The checksum of the source's plan: with the preprocessing it tells which decoded shard serves.
    pub source_checksum: String,
    /// The weights and moments to start from; `None` means those that the seed gives.
    pub weights: Option<FileRef>,
    /// How workers that exchange are known to the parameter service.
    #[serde(default)]
    pub parameters: Option<SessionKey>,
    /// Content hashes of rows that are not trained on; sorted.
    #[serde(default)]
    pub dropped: Vec<u64>,
}

/// The name of the decoded shard that a worker of this task reads: the same for every job over the same rows, pixels
/// and number of workers, whichever run it belongs to.
#[must_use]
pub fn shard_key(task: &TrainTask, worker: WorkerId) -> String {
    let TrainTask { source_checksum, workers, definition, .. } = task;
    format!("{source_checksum} worker {worker} of {workers} at {}", definition.preprocessing.pixels())
}

/// An image that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableImage {
    /// Its path, or its place in the table.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A worker's report on its task. What a phase does not touch stays zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Rows used.
    pub rows: u64,
    /// Rows of the whole table that the worker looked through (profile): the same for all, or some saw only a part.
    pub rows_seen: u64,
    /// Rows per class that would be trained on (profile).
    pub train_rows: BTreeMap<String, u64>,
    /// Rows per class that would be held out (profile).
    pub val_rows: BTreeMap<String, u64>,
    /// Rows without a label (profile).
    pub null_labels: u64,
    /// Rows without an image or with one that cannot be read.
    pub skipped: u64,
    /// The first few of them.
    pub unreadable: Vec<UnreadableImage>,
    /// Sum of the pixel values of the training rows (profile).
    pub pixel_sum: u64,
    /// Sum of their squares (profile).
    pub pixel_square_sum: u64,
    /// How many pixel values these are (profile).
    pub pixel_count: u64,
    /// Sum, modulo 2^64, of the content hashes of the rows: the same in any order (profile).
    pub fingerprint: u64,
    /// Whether the processor has bf16 instructions (profile).
    pub has_bf16: bool,
    /// Sum over rows of the unweighted-by-count training loss (train).
    pub loss_sum: f64,
    /// Learning rate of the last step (train).
    pub learning_rate: f64,
    /// Images decoded for this task; 0 when the shard was there already.
    pub decoded: u64,
    /// What became of the weights to start from (adapt; the first worker's).
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Where the time went.
    pub timing: Timing,
}

/// The largest count in a report: sums over all workers cannot overflow.
const COUNT_MAX: u64 = 1 << 40;

impl PhaseReport {
    /// Whether its numbers can be added up with those of the other workers.
    ///
    /// # Errors
    /// Which number cannot be.
    pub fn check(&self) -> Result<(), String> {
        let counts = [self.rows, self.rows_seen, self.null_labels, self.skipped, self.decoded];
        let counts = counts.into_iter().chain(self.train_rows.values().chain(self.val_rows.values()).copied());
        match counts.max().filter(|count| *count > COUNT_MAX) {
            Some(count) => Err(format!("a count of {count}")),
            None => Ok(()),
        }
    }
}
