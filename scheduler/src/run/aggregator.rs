//! The aggregator: the mean of the workers' states, weighted by the rows that each worker trained on.
//!
//! Task outputs are folded in rounds. A round has one piece from each worker of a group, and all of them are the same
//! piece of the same tensor. If one group holds all workers, only the mean in f32 is kept. Otherwise one model of sums
//! in f64 is kept, for any number of workers. Values are added in the order of the workers and not in the order of
//! arrival, so the sum is always bit-identical. An update that arrives twice, out of order, with another shape, or with
//! NaN or infinity is refused.
//!
//! Memory bandwidth limits folding. The loops over values are written so that they compile to vector instructions.

use std::collections::BTreeMap;
use std::ops::Range;

use tusk_core::job::Report;
use tusk_core::physical::{TaskOutput, tensor_header};
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::{Error, Result};

/// Number of values that are checked and then added. They and their sums fit in the first-level cache.
const BLOCK_VALUES: usize = 2048;

/// The little-endian values of one worker's piece, and the weight of that worker.
type Piece<'a> = (&'a [[u8; 4]], f64);

#[derive(Debug)]
enum Values {
    /// The mean, if one group holds all workers.
    Mean(Vec<f32>),
    /// The sum weighted by rows, not yet divided.
    Sum(Vec<f64>),
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    values: Values,
    /// The number of values of the current group that are folded, and the number of their pieces.
    filled: usize,
    pieces: u32,
    /// The number of groups with this tensor, including the current one.
    groups: u32,
}

/// Folds the task outputs of one job. Each output begins with a report of type `R`.
#[derive(Debug)]
pub struct Aggregator<R> {
    workers: usize,
    reports: Vec<R>,
    rows: u64,
    /// The workers of the current group, and the number of groups so far whose workers have rows.
    group: Range<usize>,
    groups: u32,
    tensors: BTreeMap<String, Tensor>,
}

impl<R: Report> Aggregator<R> {
    /// Creates an aggregator for this number of workers.
    #[must_use]
    pub fn new(workers: u32) -> Self {
        Self {
            workers: workers as usize,
            reports: Vec::new(),
            rows: 0,
            group: 0..0,
            groups: 0,
            tensors: BTreeMap::new(),
        }
    }

    /// Folds the next row of each task output of a group, in the order of the workers. A row is `None` if the output
    /// has ended. A group begins with its reports. Its workers follow those of the previous group.
    ///
    /// # Errors
    /// [`Error::Update`] if the outputs cannot be averaged.
    pub fn fold(&mut self, round: &[Option<TaskOutput<'_>>]) -> Result<()> {
        let reports = round.iter().map(|output| output.map_or(Ok(None), |output| output.report()));
        let reports: Vec<Option<R>> = reports.collect::<Result<_, _>>()?;
        if reports.iter().all(Option::is_none) { self.fold_pieces(round) } else { self.begin(round, reports) }
    }

    fn begin(&mut self, round: &[Option<TaskOutput<'_>>], reports: Vec<Option<R>>) -> Result<()> {
        self.group = self.reports.len()..self.reports.len() + round.len();
        let rows_before = self.rows;
        for ((worker, output), report) in self.group.clone().zip(round).zip(reports) {
            let Some((output, report)) = output.zip(report) else {
                return Err(refused(worker, "its report must come first".into()));
            };
            let found = output.worker.0 as usize;
            if worker >= self.workers {
                return Err(refused(found, format!("the job has {} workers", self.workers)));
            }
            if found != worker {
                return Err(refused(found, format!("expected worker {worker}")));
            }
            self.rows = self.rows.saturating_add(report.task().rows);
            self.reports.push(report);
        }
        self.groups += u32::from(self.rows > rows_before);
        Ok(())
    }

    fn rows_of(&self, worker: usize) -> u64 {
        self.reports[worker].task().rows
    }

    fn fold_pieces(&mut self, round: &[Option<TaskOutput<'_>>]) -> Result<()> {
        if round.len() != self.group.len() {
            return Err(refused(self.reports.len(), "its report must come first".into()));
        }
        let mut pieces: Vec<(usize, TaskOutput<'_>)> = Vec::with_capacity(round.len());
        let mut ended = None;
        for (worker, output) in self.group.clone().zip(round) {
            match output {
                Some(_) if self.rows_of(worker) == 0 => {
                    return Err(refused(worker, "it has weights but no rows".into()));
                }
                Some(output) if output.worker.0 as usize != worker => {
                    return Err(refused(worker, format!("the output is from worker {}", output.worker.0)));
                }
                Some(output) => pieces.push((worker, *output)),
                None if self.rows_of(worker) > 0 => ended = Some(worker),
                None => {}
            }
        }
        let Some((_, first)) = pieces.first().copied() else { return Ok(()) };
        if let Some(worker) = ended {
            return Err(refused(worker, format!("it has no piece {} of tensor {}", first.piece, first.name)));
        }
        self.fold_piece(&first, &pieces)
    }

    /// Folds the same piece of every worker of the group that has rows.
    fn fold_piece(&mut self, first: &TaskOutput<'_>, pieces: &[(usize, TaskOutput<'_>)]) -> Result<()> {
        let mut values: Vec<Piece<'_>> = Vec::with_capacity(pieces.len());
        let mut shape = None;
        for (worker, output) in pieces {
            let refuse = |reason: String| refused(*worker, format!("tensor {}: {reason}", output.name));
            if (output.name, output.piece) != (first.name, first.piece) {
                let (name, piece) = (first.name, first.piece);
                return Err(refuse(format!("piece {} is out of order: others send {name} {piece}", output.piece)));
            }
            let mut bytes = output.data;
            if output.piece == 0 {
                let (found, rest) = tensor_header(bytes)?;
                let wanted = shape.get_or_insert_with(|| found.clone());
                if *wanted != found {
                    return Err(refuse(format!("its shape is {found:?}, but others have {wanted:?}")));
                }
                bytes = rest;
            }
            let (chunks, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() || values.first().is_some_and(|(others, _)| others.len() != chunks.len()) {
                return Err(refuse(format!("the length of piece {} differs from that of others", output.piece)));
            }
            values.push((chunks, self.rows_of(*worker) as f64));
        }
        let worker = pieces.first().map_or(0, |(worker, _)| *worker);
        let refuse = |reason: String| refused(worker, format!("tensor {}: {reason}", first.name));
        let (whole, groups) = (self.group.len() == self.workers, self.groups);
        if let Some(shape) = shape {
            match self.tensors.get_mut(first.name) {
                None if groups == 1 => {
                    let tensor = Tensor::new(shape, whole).map_err(refuse)?;
                    self.tensors.insert(first.name.to_owned(), tensor);
                }
                None => return Err(refuse("no other worker has it".into())),
                Some(tensor) => tensor.begin(&shape, groups).map_err(refuse)?,
            }
        }
        let tensor = self.tensors.get_mut(first.name);
        let Some(tensor) = tensor.filter(|tensor| tensor.groups == groups && tensor.pieces == first.piece) else {
            return Err(refuse(format!("piece {} is out of order", first.piece)));
        };
        let rows = self.rows as f64;
        tensor.fold(&values, rows).map_err(|(place, reason)| {
            let worker = pieces.get(place).map_or(worker, |(worker, _)| *worker);
            refused(worker, format!("tensor {}: {reason}", first.name))
        })
    }

    /// Returns the mean, and the reports in the order of the workers.
    ///
    /// # Errors
    /// [`Error::Update`] if an update is missing or incomplete.
    pub fn finish(self) -> Result<(ModelState, Vec<R>)> {
        if self.reports.len() != self.workers {
            let reason = format!("it returned no output; the job has {} workers", self.workers);
            return Err(refused(self.reports.len(), reason));
        }
        let rows = self.rows as f64;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in self.tensors {
            if tensor.filled != tensor.values_wanted() || tensor.groups != self.groups {
                return Err(refused(self.group.start, format!("tensor {name} is incomplete")));
            }
            let data = match tensor.values {
                Values::Mean(mean) => mean,
                Values::Sum(sums) => sums.iter().map(|sum| (sum / rows) as f32).collect(),
            };
            tensors.push(NamedTensor { name, shape: tensor.shape, data });
        }
        Ok((ModelState::new(tensors), self.reports))
    }
}

impl Tensor {
    /// Creates a tensor and reserves memory for its values. A shape that does not fit in memory is an error and does
    /// not abort the process.
    fn new(shape: Vec<usize>, whole: bool) -> Result<Self, String> {
        let too_large = |shape: &[usize]| format!("its shape {shape:?} is too large");
        let values = shape.iter().try_fold(1_usize, |values, side| values.checked_mul(*side));
        let values = values.ok_or_else(|| too_large(&shape))?;
        let (mut mean, mut sums) = (Vec::new(), Vec::new());
        let reserved = if whole { mean.try_reserve_exact(values) } else { sums.try_reserve_exact(values) };
        reserved.map_err(|_| too_large(&shape))?;
        let values = if whole { Values::Mean(mean) } else { Values::Sum(sums) };
        Ok(Self { shape, values, filled: 0, pieces: 0, groups: 1 })
    }

    /// Begins the next group.
    fn begin(&mut self, shape: &[usize], groups: u32) -> Result<(), String> {
        if self.shape != shape {
            return Err(format!("its shape is {shape:?}, but others have {:?}", self.shape));
        }
        if self.groups == groups {
            return Err("it came twice".to_owned());
        }
        if self.filled != self.values_wanted() || self.groups + 1 != groups {
            return Err("it is incomplete in the previous group".to_owned());
        }
        (self.filled, self.pieces, self.groups) = (0, 0, self.groups + 1);
        Ok(())
    }

    fn values_wanted(&self) -> usize {
        self.shape.iter().product()
    }

    /// Folds a piece of each worker. An error contains the index of the worker that caused it.
    fn fold(&mut self, workers: &[Piece<'_>], rows: f64) -> Result<(), (usize, String)> {
        let length = workers.first().map_or(0, |(values, _)| values.len());
        if self.filled + length > self.values_wanted() {
            return Err((0, format!("it has more bytes than its shape {:?}", self.shape)));
        }
        let mut block = [0.0; BLOCK_VALUES];
        for start in (0..length).step_by(BLOCK_VALUES) {
            let range = start..(start + BLOCK_VALUES).min(length);
            for (place, (values, _)) in workers.iter().enumerate() {
                if let Some((index, value)) = first_not_finite(&values[range.clone()]) {
                    return Err((place, format!("value {} is {value}; lower the learning rate", self.filled + index)));
                }
            }
            let sums = match &mut self.values {
                Values::Mean(_) => &mut block[..range.len()],
                Values::Sum(sums) => {
                    if self.groups == 1 {
                        sums.resize(self.filled + range.len(), 0.0);
                    }
                    &mut sums[self.filled..self.filled + range.len()]
                }
            };
            add(sums, workers, range.clone(), self.groups == 1);
            if let Values::Mean(mean) = &mut self.values {
                // If only one worker has rows, the mean is bit-identical to its value: f64 multiplies and divides it
                // by the same number of rows.
                mean.extend(block[..range.len()].iter().map(|sum| (sum / rows) as f32));
            }
            self.filled += range.len();
        }
        self.pieces += 1;
        Ok(())
    }
}

/// Adds the workers' weighted values one worker after the other. If `fresh`, the old content of `sums` is ignored.
fn add(sums: &mut [f64], workers: &[Piece<'_>], range: Range<usize>, fresh: bool) {
    // The weight is copied. Behind a reference it could be one of the sums, and the loop would not be vectorized.
    for (place, &(values, weight)) in workers.iter().enumerate() {
        let weighted = values[range.clone()].iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)) * weight);
        let sums = sums.iter_mut().zip(weighted);
        if fresh && place == 0 {
            sums.for_each(|(sum, weighted)| *sum = weighted);
        } else {
            sums.for_each(|(sum, weighted)| *sum += weighted);
        }
    }
}

/// Returns the first value of a block that is NaN or infinite, and its index.
fn first_not_finite(block: &[[u8; 4]]) -> Option<(usize, f32)> {
    const EXPONENT: u32 = 0x7f80_0000;
    const LAST_BIT_OF_EXPONENT: u32 = 0x0080_0000;
    // Only an exponent of all ones carries into the bit above it. Without a branch, the loop is vectorized.
    let carries = |seen: u32, bytes: &[u8; 4]| seen | ((u32::from_le_bytes(*bytes) & EXPONENT) + LAST_BIT_OF_EXPONENT);
    if block.iter().fold(0, carries) >> 31 == 0 {
        return None;
    }
    block.iter().map(|bytes| f32::from_le_bytes(*bytes)).enumerate().find(|(_, value)| !value.is_finite())
}

fn refused(worker: usize, reason: String) -> Error {
    Error::Update { worker: u32::try_from(worker).unwrap_or(u32::MAX), reason }
}

#[cfg(test)]
#[path = "aggregator_tests.rs"]
mod tests;
