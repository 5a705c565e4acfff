//! The aggregator: the mean of the workers' states, weighted by the rows each has seen.
//!
//! Answers are folded piece by piece as they arrive, so memory is one model in f64 whatever the number of workers.
//! They are folded in the order of the workers, never in the order of arrival, so that the sum is the same to the bit
//! however the cluster behaved. An update that arrives twice, out of order, with another shape, or with NaN or
//! infinity in it is refused.
//!
//! Folding is bound by memory: the loops over values are written so that they compile to vector instructions.

use std::collections::BTreeMap;

use tusk_core::physical::{Answer, PhaseReport, tensor_header};
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::{Error, Result};

/// Values that are checked before they are added: few enough to be in the first-level cache still.
const BLOCK_VALUES: usize = 2048;

#[derive(Debug)]
struct Sum {
    shape: Vec<usize>,
    values: Vec<f64>,
    /// The worker whose pieces are in, and how many values of it.
    worker: u32,
    filled: usize,
    pieces: u32,
    workers: u32,
}

/// Folds the workers' answers of one epoch.
#[derive(Debug, Default)]
pub struct Aggregator {
    sums: BTreeMap<String, Sum>,
    reports: Vec<PhaseReport>,
    current: Option<(u32, u64)>,
    rows: u64,
    trained: u32,
}

impl Aggregator {
    /// Folds one row of an answer.
    ///
    /// # Errors
    /// [`Error::Update`] when it cannot be averaged.
    pub fn fold(&mut self, answer: &Answer<'_>) -> Result<()> {
        let worker = answer.worker.0;
        if let Some(report) = answer.report()? {
            let expected = u32::try_from(self.reports.len()).unwrap_or(u32::MAX);
            if worker != expected {
                return Err(refused(worker, format!("the next worker is {expected}")));
            }
            self.current = Some((worker, report.rows));
            self.rows = self.rows.saturating_add(report.rows);
            self.trained += u32::from(report.rows > 0);
            self.reports.push(report);
            return Ok(());
        }
        match self.current {
            Some((current, rows)) if current == worker && rows > 0 => self.fold_piece(answer, rows as f64),
            Some((current, _)) if current == worker => Err(refused(worker, "it has weights but no rows".into())),
            _ => Err(refused(worker, "its report did not come first".into())),
        }
    }

    fn fold_piece(&mut self, answer: &Answer<'_>, weight: f64) -> Result<()> {
        let worker = answer.worker.0;
        let refuse = |reason: String| refused(worker, format!("tensor {}: {reason}", answer.name));
        let mut bytes = answer.data;
        let first = self.trained == 1;
        if answer.piece == 0 {
            let (shape, values) = tensor_header(bytes)?;
            bytes = values;
            match self.sums.get_mut(answer.name) {
                None if first => {
                    let numel = shape.iter().try_fold(1_usize, |n, side| n.checked_mul(*side));
                    let numel = numel.ok_or_else(|| refuse(format!("its shape {shape:?} is too large")))?;
                    // Reserved, not touched: a shape that nobody could hold is refused here, and does not abort.
                    let mut values = Vec::new();
                    values.try_reserve_exact(numel).map_err(|_| refuse(format!("its shape {shape:?} is too large")))?;
                    let sum = Sum { shape, values, worker, filled: 0, pieces: 0, workers: 1 };
                    self.sums.insert(answer.name.to_owned(), sum);
                }
                None => return Err(refuse("no other worker has it".into())),
                Some(sum) if sum.shape != shape => {
                    return Err(refuse(format!("its shape is {shape:?}, the others' {:?}", sum.shape)));
                }
                Some(sum) if sum.worker == worker => return Err(refuse("it came twice".into())),
                Some(sum) => (sum.worker, sum.filled, sum.pieces, sum.workers) = (worker, 0, 0, sum.workers + 1),
            }
        }
        let Some(sum) = self.sums.get_mut(answer.name).filter(|s| s.worker == worker && s.pieces == answer.piece)
        else {
            return Err(refuse(format!("piece {} is out of order", answer.piece)));
        };
        let (chunks, rest) = bytes.as_chunks::<4>();
        let numel: usize = sum.shape.iter().product();
        if !rest.is_empty() || sum.filled + chunks.len() > numel {
            return Err(refuse(format!("it has more bytes than its shape {:?}", sum.shape)));
        }
        for block in chunks.chunks(BLOCK_VALUES) {
            if let Some((place, value)) = first_not_finite(block) {
                return Err(refuse(format!("value {} is {value}; lower the learning rate", sum.filled + place)));
            }
            let weighted = block.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)) * weight);
            if first {
                sum.values.extend(weighted);
            } else {
                let sums = sum.values[sum.filled..].iter_mut();
                sums.zip(weighted).for_each(|(sum, weighted)| *sum += weighted);
            }
            sum.filled += block.len();
        }
        sum.pieces += 1;
        Ok(())
    }

    /// The mean, and the reports in the order of the workers.
    ///
    /// # Errors
    /// [`Error::Update`] when an update is missing or incomplete.
    pub fn finish(self, workers: u32) -> Result<(ModelState, Vec<PhaseReport>)> {
        let answered = u32::try_from(self.reports.len()).unwrap_or(u32::MAX);
        if answered != workers {
            return Err(refused(answered, format!("it did not answer; {workers} were asked")));
        }
        let rows = self.rows as f64;
        let mut tensors = Vec::with_capacity(self.sums.len());
        for (name, sum) in self.sums {
            if sum.filled != sum.shape.iter().product::<usize>() || sum.workers != self.trained {
                return Err(refused(sum.worker, format!("tensor {name} is incomplete")));
            }
            // In f64 a single worker's value times its rows, divided by them, is that value to the bit.
            let data = sum.values.iter().map(|value| (value / rows) as f32).collect();
            tensors.push(NamedTensor { name, shape: sum.shape, data });
        }
        Ok((ModelState::new(tensors), self.reports))
    }
}

/// The first value of a block that is NaN or infinite, and its place.
fn first_not_finite(block: &[[u8; 4]]) -> Option<(usize, f32)> {
    const EXPONENT: u32 = 0x7f80_0000;
    const LAST_BIT_OF_EXPONENT: u32 = 0x0080_0000;
    // Only an exponent of all ones carries into the bit above it. No branch, so that many are looked at at once.
    let carries = |seen: u32, bytes: &[u8; 4]| seen | ((u32::from_le_bytes(*bytes) & EXPONENT) + LAST_BIT_OF_EXPONENT);
    if block.iter().fold(0, carries) >> 31 == 0 {
        return None;
    }
    block.iter().map(|bytes| f32::from_le_bytes(*bytes)).enumerate().find(|(_, value)| !value.is_finite())
}

fn refused(worker: u32, reason: String) -> Error {
    Error::Update { worker, reason }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::record_batch::RecordBatch;
    use tusk_core::ids::WorkerId;
    use tusk_core::physical::{MESSAGE_BYTES_MAX, REPORT, answer_rows, tensor_rows};

    use super::*;

    fn fold(aggregator: &mut Aggregator, worker: u32, rows: u64, tensors: &[(&str, &[f32])]) -> Result<()> {
        let report = serde_json::to_vec(&PhaseReport { rows, ..PhaseReport::default() }).unwrap();
        let mut fold = |batch: tusk_core::Result<RecordBatch>| -> Result<()> {
            Answer::rows(&batch?)?.try_for_each(|row| aggregator.fold(&row))
        };
        answer_rows(WorkerId(worker), REPORT, &report).try_for_each(&mut fold)?;
        for (name, data) in tensors {
            let tensor = NamedTensor { name: (*name).into(), shape: vec![data.len()], data: data.to_vec() };
            tensor_rows(WorkerId(worker), &tensor).try_for_each(&mut fold)?;
        }
        Ok(())
    }

    /// A short array's only row.
    fn row(worker: u32, name: &str, bytes: &[u8]) -> RecordBatch {
        answer_rows(WorkerId(worker), name, bytes).next().unwrap().unwrap()
    }

    #[test]
    fn the_mean_is_weighted_by_rows_as_computed_by_hand() {
        let mut aggregator = Aggregator::default();
        fold(&mut aggregator, 0, 3, &[("w", &[1.0, -2.0])]).unwrap();
        fold(&mut aggregator, 1, 1, &[("w", &[5.0, 2.0])]).unwrap();
        let (state, reports) = aggregator.finish(2).unwrap();
        // (3 * 1 + 1 * 5) / 4 = 2 and (3 * -2 + 1 * 2) / 4 = -1
        assert_eq!(state.get("w").unwrap().data, [2.0, -1.0]);
        assert_eq!(reports.iter().map(|r| r.rows).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn an_empty_partition_neither_adds_nor_divides() {
        let values = [0.1_f32, 1e-30, 3.4e38, -7.0 / 3.0];
        for empty_first in [true, false] {
            let mut aggregator = Aggregator::default();
            let (empty, full) = if empty_first { (0, 1) } else { (1, 0) };
            for worker in 0..2 {
                if worker == empty {
                    fold(&mut aggregator, worker, 0, &[]).unwrap();
                } else {
                    fold(&mut aggregator, full, 4_173, &[("w", &values)]).unwrap();
                }
            }
            let (state, _) = aggregator.finish(2).unwrap();
            assert_eq!(state.get("w").unwrap().data, values, "not the same to the bit");
        }
    }

    #[test]
    fn an_update_counts_once_and_in_the_order_of_the_workers() {
        let mut aggregator = Aggregator::default();
        fold(&mut aggregator, 0, 1, &[("w", &[1.0])]).unwrap();
        assert!(fold(&mut aggregator, 0, 1, &[("w", &[1.0])]).is_err());
        let mut aggregator = Aggregator::default();
        let error = fold(&mut aggregator, 1, 1, &[("w", &[1.0])]).unwrap_err();
        assert_eq!(error.to_string(), "worker 1 sent an update that cannot be averaged: the next worker is 0");
    }

    #[test]
    fn sums_are_those_of_one_value_after_the_other_to_the_bit() {
        let values = |worker: u32| {
            let mut bits = u64::from(worker) + 1;
            let value = move || {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Any bits but those of an exponent of all ones; a length that is no multiple of a block or a vector.
                f32::from_bits((bits >> 32) as u32 & 0xff7f_ffff)
            };
            std::iter::repeat_with(value).take(MESSAGE_BYTES_MAX / 4 + 2 * BLOCK_VALUES + 7).collect::<Vec<f32>>()
        };
        let rows = [3_u64, 1_000_003, 17];
        let mut aggregator = Aggregator::default();
        for (worker, rows) in (0..).zip(rows) {
            fold(&mut aggregator, worker, rows, &[("w", &values(worker))]).unwrap();
        }
        let (state, _) = aggregator.finish(3).unwrap();
        let [a, b, c] = [values(0), values(1), values(2)];
        for (place, mean) in state.get("w").unwrap().data.iter().enumerate() {
            let mut sum = f64::from(a[place]) * 3.0;
            sum += f64::from(b[place]) * 1_000_003.0;
            sum += f64::from(c[place]) * 17.0;
            assert_eq!(mean.to_bits(), ((sum / 1_000_023.0) as f32).to_bits(), "value {place}");
        }
    }

    #[test]
    fn the_value_that_is_not_finite_is_named_wherever_it_is() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
            for place in [0, 6, BLOCK_VALUES - 1, BLOCK_VALUES, 2 * BLOCK_VALUES + 2] {
                let mut values = vec![f32::MAX; 2 * BLOCK_VALUES + 3];
                values[place] = bad;
                let error = fold(&mut Aggregator::default(), 0, 1, &[("w", &values)]).unwrap_err().to_string();
                assert!(error.contains(&format!("tensor w: value {place} is {bad}; lower")), "{error}");
            }
        }
    }

    #[test]
    fn a_shape_that_no_memory_holds_is_refused() {
        for sides in [&[1_u64 << 62, 1][..], &[1 << 58], &[1 << 33, 1 << 33]] {
            let header = std::iter::once(sides.len() as u64).chain(sides.iter().copied()).flat_map(u64::to_le_bytes);
            let mut aggregator = Aggregator::default();
            fold(&mut aggregator, 0, 1, &[]).unwrap();
            let batch = row(0, "w", &header.collect::<Vec<_>>());
            let row = Answer::rows(&batch).unwrap().next().unwrap();
            assert!(aggregator.fold(&row).is_err(), "{sides:?}");
        }
    }

    #[test]
    fn nan_infinity_other_shapes_and_missing_tensors_are_refused() {
        for bad in [&[f32::NAN][..], &[f32::INFINITY], &[1.0, 2.0]] {
            let mut aggregator = Aggregator::default();
            fold(&mut aggregator, 0, 1, &[("w", &[1.0])]).unwrap();
            assert!(fold(&mut aggregator, 1, 1, &[("w", bad)]).is_err(), "{bad:?}");
        }
        let mut aggregator = Aggregator::default();
        fold(&mut aggregator, 0, 1, &[("v", &[1.0]), ("w", &[1.0])]).unwrap();
        fold(&mut aggregator, 1, 1, &[("w", &[1.0])]).unwrap();
        assert!(aggregator.finish(2).is_err());
        assert!(Aggregator::default().finish(1).is_err());
    }

    #[test]
    fn what_a_worker_claims_is_not_believed() {
        let header = |shape: &[u64]| -> Vec<u8> {
            std::iter::once(shape.len() as u64).chain(shape.iter().copied()).flat_map(u64::to_le_bytes).collect()
        };
        let huge: [&[u64]; 4] = [&[1 << 40, 1 << 10], &[u64::MAX], &[u64::MAX, u64::MAX], &[1 << 61]];
        for shape in huge {
            let mut aggregator = Aggregator::default();
            fold(&mut aggregator, 0, 1, &[]).unwrap();
            let batch = row(0, "w", &header(shape));
            let row = Answer::rows(&batch).unwrap().next().unwrap();
            let message = aggregator.fold(&row).unwrap_err().to_string();
            assert!(message.contains("too large"), "{message}");
        }
        let mut aggregator = Aggregator::default();
        let message = fold(&mut aggregator, 0, u64::MAX, &[("w", &[1.0])]).unwrap_err().to_string();
        assert!(message.contains("a count of 18446744073709551615"), "{message}");
    }

    #[test]
    fn damaged_answers_are_refused_or_folded_and_panic_nothing() {
        let report = serde_json::to_vec(&PhaseReport { rows: 3, ..PhaseReport::default() }).unwrap();
        let header = [2_u64, 2, 3].into_iter().flat_map(u64::to_le_bytes);
        let tensor: Vec<u8> = header.chain([0.5_f32; 6].into_iter().flat_map(f32::to_le_bytes)).collect();
        let mut random = 1_u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below.max(1)
        };
        let mut refused = 0;
        for _ in 0..5000 {
            let mut aggregator = Aggregator::default();
            let mut rows = Vec::new();
            for worker in 0..2 {
                for (name, bytes) in [(REPORT, &report), ("w", &tensor), ("v", &tensor)] {
                    let mut bytes = bytes.clone();
                    for _ in 0..next(3) {
                        let place = next(bytes.len());
                        match next(3) {
                            0 => bytes[place] ^= 1 << next(8),
                            1 => bytes.truncate(place + 1),
                            _ => bytes.insert(place, next(256) as u8),
                        }
                    }
                    let worker = if next(20) == 0 { next(4) as u32 } else { worker };
                    rows.push(row(worker, name, &bytes));
                }
            }
            if next(10) == 0 {
                let (one, other) = (next(rows.len()), next(rows.len()));
                rows.swap(one, other);
            }
            let folded =
                rows.iter().try_for_each(|batch| Answer::rows(batch)?.try_for_each(|row| aggregator.fold(&row)));
            let outcome = folded.and_then(|()| aggregator.finish(2));
            refused += usize::from(outcome.is_err());
            if let Ok((state, _)) = outcome {
                assert!(state.iter().all(|t| t.data.iter().all(|v| v.is_finite())));
            }
        }
        assert!((1000..5000).contains(&refused), "{refused} of 5000 were refused");
    }
}
