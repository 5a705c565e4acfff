use datafusion::arrow::record_batch::RecordBatch;
use tusk_core::ids::WorkerId;
use tusk_core::job::{TaskReport, TrainReport};
use tusk_core::physical::{MESSAGE_BYTES_MAX, REPORT, output_rows, report_rows, tensor_rows};

use super::*;

/// The task output of a worker, in batches of one row.
type Rows = Vec<RecordBatch>;

type Aggregator = super::Aggregator<TrainReport>;

fn report(rows: u64) -> TrainReport {
    TrainReport { task: TaskReport::of_rows(rows), ..TrainReport::default() }
}

fn output(worker: u32, rows: u64, tensors: &[(&str, &[f32])]) -> Rows {
    let mut batches: Rows = report_rows(WorkerId(worker), &report(rows)).unwrap();
    for (name, data) in tensors {
        let tensor = NamedTensor { name: (*name).into(), shape: vec![data.len()], data: data.to_vec() };
        batches.extend(tensor_rows(WorkerId(worker), &tensor).map(Result::unwrap));
    }
    batches
}

/// Folds the task outputs of a group.
fn fold(aggregator: &mut Aggregator, group: &[Rows]) -> Result<()> {
    for round in 0..group.iter().map(Vec::len).max().unwrap_or(0) {
        let mut outputs = Vec::new();
        for rows in group {
            outputs.push(match rows.get(round) {
                Some(batch) => TaskOutput::rows(batch)?.next(),
                None => None,
            });
        }
        aggregator.fold(&outputs)?;
    }
    Ok(())
}

/// Returns the mean of workers that are read in groups of `at_a_time`.
fn mean(outputs: &[Rows], at_a_time: usize) -> Result<(ModelState, Vec<TrainReport>)> {
    let mut aggregator = Aggregator::new(u32::try_from(outputs.len()).unwrap());
    outputs.chunks(at_a_time).try_for_each(|group| fold(&mut aggregator, group))?;
    aggregator.finish()
}

fn message(outputs: &[Rows], at_a_time: usize) -> String {
    mean(outputs, at_a_time).unwrap_err().to_string()
}

/// Returns the only row of a short array.
fn row(worker: u32, name: &str, bytes: &[u8]) -> RecordBatch {
    output_rows(WorkerId(worker), name, bytes).next().unwrap().unwrap()
}

#[test]
fn the_mean_is_weighted_by_rows_as_computed_by_hand() {
    let outputs = [output(0, 3, &[("w", &[1.0, -2.0])]), output(1, 1, &[("w", &[5.0, 2.0])])];
    for at_a_time in [1, 2] {
        let (state, reports) = mean(&outputs, at_a_time).unwrap();
        // (3 * 1 + 1 * 5) / 4 = 2 and (3 * -2 + 1 * 2) / 4 = -1
        assert_eq!(state.get("w").unwrap().data, [2.0, -1.0]);
        assert_eq!(reports.iter().map(|r| r.task.rows).collect::<Vec<_>>(), [3, 1]);
    }
}

#[test]
fn a_worker_without_rows_does_not_change_the_mean() {
    let values = [0.1_f32, 1e-30, 3.4e38, -7.0 / 3.0, -0.0];
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    for full in 0..3 {
        let outputs: Vec<Rows> = (0..3)
            .map(
                |worker| if worker == full { output(worker, 4_173, &[("w", &values)]) } else { output(worker, 0, &[]) },
            )
            .collect();
        for at_a_time in [1, 2, 3] {
            let (state, _) = mean(&outputs, at_a_time).unwrap();
            assert_eq!(bits(&state.get("w").unwrap().data), bits(&values), "worker {full}, {at_a_time} at a time");
        }
    }
}

#[test]
fn an_update_counts_once_and_in_the_order_of_the_workers() {
    let of = |worker| output(worker, 1, &[("w", &[1.0])]);
    let prefix = "invalid update from worker";
    assert_eq!(message(&[of(1), of(0)], 2), format!("{prefix} 1: expected worker 0"));
    assert_eq!(message(&[of(0), of(0)], 1), format!("{prefix} 0: expected worker 1"));
    let mut aggregator = Aggregator::new(1);
    fold(&mut aggregator, &[of(0)]).unwrap();
    let error = fold(&mut aggregator, &[of(1)]).unwrap_err();
    assert_eq!(error.to_string(), format!("{prefix} 1: the job has 1 workers"));
    let twice = |worker| output(worker, 1, &[("w", &[1.0]), ("w", &[1.0])]);
    for at_a_time in [1, 2] {
        assert_eq!(message(&[twice(0), twice(1)], at_a_time), format!("{prefix} 0: tensor w: it came twice"));
    }
    // Another worker's rows in the middle of a task output.
    let mixed = [output(0, 1, &[]), of(1).split_off(1)].concat();
    assert_eq!(message(&[mixed, of(1)], 2), format!("{prefix} 0: the output is from worker 1"));
}

#[test]
fn sums_are_bit_identical_to_sequential_addition() {
    let values = |worker: u32| {
        let mut bits = u64::from(worker) + 1;
        let value = move || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Any bits without an exponent of all ones. The length is not a multiple of a block or a vector.
            f32::from_bits((bits >> 32) as u32 & 0xff7f_ffff)
        };
        std::iter::repeat_with(value).take(MESSAGE_BYTES_MAX / 4 + 2 * BLOCK_VALUES + 7).collect::<Vec<f32>>()
    };
    let outputs: Vec<Rows> = (0..)
        .zip([3_u64, 1_000_003, 17])
        .map(|(worker, rows)| output(worker, rows, &[("w", &values(worker))]))
        .collect();
    let [a, b, c] = [values(0), values(1), values(2)];
    for at_a_time in [1, 2, 3] {
        let (state, _) = mean(&outputs, at_a_time).unwrap();
        for (place, mean) in state.get("w").unwrap().data.iter().enumerate() {
            let mut sum = f64::from(a[place]) * 3.0;
            sum += f64::from(b[place]) * 1_000_003.0;
            sum += f64::from(c[place]) * 17.0;
            assert_eq!(mean.to_bits(), ((sum / 1_000_023.0) as f32).to_bits(), "value {place}, {at_a_time} at a time");
        }
    }
}

#[test]
fn the_error_names_the_value_that_is_not_finite() {
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
        for place in [0, 6, BLOCK_VALUES - 1, BLOCK_VALUES, 2 * BLOCK_VALUES + 2] {
            let good = vec![f32::MAX; 2 * BLOCK_VALUES + 3];
            let mut values = good.clone();
            values[place] = bad;
            for at_a_time in [1, 2] {
                let message = message(&[output(0, 1, &[("w", &good)]), output(1, 1, &[("w", &values)])], at_a_time);
                assert!(message.starts_with("invalid update from worker 1: "), "{message}");
                assert!(message.contains(&format!("tensor w: value {place} is {bad}; lower")), "{message}");
            }
        }
    }
}

#[test]
fn a_shape_that_does_not_fit_in_memory_is_refused() {
    for sides in [&[1_u64 << 62, 1][..], &[1 << 58], &[1 << 33, 1 << 33], &[1 << 40, 1 << 10], &[u64::MAX], &[1 << 61]]
    {
        let header = std::iter::once(sides.len() as u64).chain(sides.iter().copied()).flat_map(u64::to_le_bytes);
        let claim = [output(0, 1, &[]), vec![row(0, "w", &header.collect::<Vec<_>>())]].concat();
        let message = message(&[claim], 1);
        assert!(message.contains("too large"), "{message}");
    }
    let message = message(&[output(0, u64::MAX, &[])], 1);
    assert!(message.contains("the count 18446744073709551615 is too large"), "{message}");
}

#[test]
fn updates_that_differ_between_workers_are_refused() {
    let good = output(0, 1, &[("v", &[1.0]), ("w", &[1.0])]);
    let others: [&[(&str, &[f32])]; 5] = [
        &[("v", &[1.0]), ("w", &[1.0, 2.0])],
        &[("v", &[1.0])],
        &[("w", &[1.0]), ("v", &[1.0])],
        &[("v", &[1.0]), ("u", &[1.0])],
        &[("v", &[1.0]), ("w", &[1.0]), ("x", &[1.0])],
    ];
    for (case, other) in others.iter().enumerate() {
        let together = message(&[good.clone(), output(1, 1, other)], 2);
        assert!(together.starts_with("invalid update from worker "), "{together}");
        // The tensors of another group may come in another order.
        assert_eq!(mean(&[good.clone(), output(1, 1, other)], 1).is_ok(), case == 2, "{other:?}");
    }
    assert!(mean(&[good.clone(), output(1, 0, &[("v", &[1.0])])], 2).is_err(), "weights without rows");
    assert!(mean(&[good[1..].to_vec()], 1).is_err(), "no report");
    assert!(mean(&[good.clone(), Vec::new()], 2).is_err(), "no output");
    assert!(mean(&[good.clone(), Vec::new()], 1).is_err(), "no output");
    assert!(Aggregator::new(1).finish().is_err(), "no worker");
    assert!(mean(&[], 1).unwrap().0.iter().next().is_none());
}

#[test]
fn damaged_outputs_are_refused_or_folded_without_a_panic() {
    let report = serde_json::to_vec(&report(3)).unwrap();
    let header = [2_u64, 2, 3].into_iter().flat_map(u64::to_le_bytes);
    let tensor: Vec<u8> = header.chain([0.5_f32; 6].into_iter().flat_map(f32::to_le_bytes)).collect();
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    let mut refused = 0;
    for _ in 0..5000 {
        let mut outputs = Vec::new();
        for worker in 0..2 {
            let mut rows = Vec::new();
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
            if next(10) == 0 {
                let (one, other) = (next(rows.len()), next(rows.len()));
                rows.swap(one, other);
            }
            outputs.push(rows);
        }
        let outcome = mean(&outputs, 1 + next(2));
        refused += usize::from(outcome.is_err());
        if let Ok((state, _)) = outcome {
            assert!(state.iter().all(|t| t.data.iter().all(|v| v.is_finite())));
        }
    }
    assert!((1000..5000).contains(&refused), "{refused} of 5000 were refused");
}
