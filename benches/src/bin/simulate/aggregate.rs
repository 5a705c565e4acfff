//! The aggregator alone. One thread generates the updates and folds them. The two times are measured separately.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use datafusion::arrow::record_batch::RecordBatch;
use tusk_benches::probe::{cpu_seconds, forget_peak, peak_bytes, resident_bytes};
use tusk_benches::simulated::{Updates, resnet50};
use tusk_core::job::TrainReport;
use tusk_core::physical::TaskOutput;
use tusk_core::state::ModelState;
use tusk_scheduler::Aggregator;

use crate::{line, megabytes};

/// Workers that are folded together, as in a run.
const WORKERS_AT_A_TIME: usize = 8;

/// Values of the mean that are checked against the workers' values.
const CHECKED_PLACES: usize = 64;

pub(crate) fn measure(out: &mut impl Write, workers: u32) -> Result<()> {
    let updates = Updates::new(resnet50(), 42);
    forget_peak();
    let (before, cpu_before, started) = (resident_bytes(), cpu_seconds(), Instant::now());
    let mut aggregator = Aggregator::<TrainReport>::new(workers);
    let (mut generating, mut folding, mut rows, mut bytes) = (Duration::ZERO, Duration::ZERO, 0_u64, 0_u64);
    for first in (0..workers).step_by(WORKERS_AT_A_TIME) {
        let group = first..workers.min(first + WORKERS_AT_A_TIME as u32);
        let arrays = std::iter::once(None).chain((0..updates.tensors().len()).map(Some));
        for array in arrays {
            let began = Instant::now();
            let make = |worker| array.map_or_else(|| updates.report(worker), |tensor| updates.rows_of(worker, tensor));
            let made: Vec<Vec<RecordBatch>> = group.clone().map(make).collect::<Result<_, _>>()?;
            generating += began.elapsed();
            let began = Instant::now();
            for piece in 0..made.first().map_or(0, Vec::len) {
                let mut round = Vec::with_capacity(made.len());
                for batches in &made {
                    round.push(batches.get(piece).map(TaskOutput::rows).transpose()?.and_then(|mut rows| rows.next()));
                }
                rows += round.len() as u64;
                bytes += round.iter().flatten().map(|answer| answer.data.len() as u64).sum::<u64>();
                aggregator.fold(&round)?;
            }
            folding += began.elapsed();
        }
    }
    let began = Instant::now();
    let (state, _) = aggregator.finish()?;
    let finishing = began.elapsed();
    let (wall, cpu, peak) = (started.elapsed(), cpu_seconds() - cpu_before, peak_bytes().saturating_sub(before));
    check(&updates, &state, workers)?;

    let model = 8 * updates.values() as u64;
    let fold = folding.as_secs_f64();
    writeln!(out, "aggregating {workers} updates of a ResNet-50 ({} values each)", updates.values())?;
    line(out, "bytes folded", &format!("{:.2} GB", bytes as f64 / 1e9))?;
    line(out, "rows (messages) folded", &rows.to_string())?;
    line(out, "wall time of folding", &format!("{fold:.1} s"))?;
    line(out, "  per worker", &format!("{:.1} ms", fold * 1e3 / f64::from(workers)))?;
    line(out, "  per GB", &format!("{:.3} s", fold * 1e9 / bytes as f64))?;
    line(out, "wall time of the final division", &format!("{:.2} s", finishing.as_secs_f64()))?;
    line(out, "wall time of generating the updates (simulation)", &format!("{:.1} s", generating.as_secs_f64()))?;
    line(
        out,
        "processor time and wall time, including generating",
        &format!("{cpu:.1} s, {:.1} s", wall.as_secs_f64()),
    )?;
    line(out, "the model in f64: 8 bytes x values", &megabytes(model))?;
    line(out, "peak memory minus memory at the start", &megabytes(peak))?;
    line(out, "  relative to the model in f64", &format!("{:.2} x", peak as f64 / model as f64))?;
    line(out, "values of the mean checked, bit for bit", &CHECKED_PLACES.to_string())?;
    Ok(())
}

/// Checks some values of the mean: computes them again from the workers' values.
fn check(updates: &Updates, state: &ModelState, workers: u32) -> Result<()> {
    let rows: u64 = (0..workers).map(|worker| updates.rows(worker)).sum();
    for check in 0..CHECKED_PLACES {
        let tensor = check * 37 % updates.tensors().len();
        let (name, shape) = &updates.tensors()[tensor];
        let place = check * 7919 % shape.iter().product::<usize>();
        let sum = (0..workers).fold(0.0, |sum, worker| {
            sum + f64::from(updates.value(worker, tensor, place)) * updates.rows(worker) as f64
        });
        let found = state.get(name).and_then(|tensor| tensor.data.get(place)).copied();
        let wanted = (sum / rows as f64) as f32;
        ensure!(found.map(f32::to_bits) == Some(wanted.to_bits()), "{name} at {place} is {found:?}, expected {wanted}");
    }
    Ok(())
}
