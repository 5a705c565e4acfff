//! What happens once per image and once per update.

use std::error::Error;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tusk_benches::{NET_SIDE, UPDATE_VALUES, answer, picture};
use tusk_core::physical::{Answer, MESSAGE_BYTES_MAX, tensor_header};
use tusk_scheduler::Aggregator;
use tusk_udfs::pixels::{Channels, decode, resize};

fn images(c: &mut Criterion) {
    let jpeg = picture().unwrap_or_default();
    let mut group = c.benchmark_group("image");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode_jpeg_224_grey", |b| b.iter(|| decode(black_box(&jpeg), Channels::Grey)));
    if let Ok(pixels) = decode(&jpeg, Channels::Grey) {
        group.bench_function("resize_224_to_128", |b| b.iter(|| resize(black_box(&pixels), NET_SIDE, NET_SIDE)));
    }
    group.finish();
}

/// The mean of two workers' updates.
fn average() -> Result<usize, Box<dyn Error>> {
    let mut aggregator = Aggregator::default();
    for worker in 0..2 {
        for batch in answer(worker)? {
            for row in Answer::rows(&batch)? {
                aggregator.fold(&row)?;
            }
        }
    }
    Ok(aggregator.finish(2)?.0.parameters())
}

/// What the aggregator does to one value after the other: what its loops over blocks are measured against.
fn average_value_by_value() -> Result<f64, Box<dyn Error>> {
    let (mut sums, mut rows) = (Vec::new(), 0.0);
    for worker in 0..2 {
        for batch in answer(worker)? {
            for row in Answer::rows(&batch)? {
                if let Some(report) = row.report()? {
                    rows = report.rows as f64;
                    continue;
                }
                // The first piece begins with the tensor's shape: four values long.
                let place = (row.piece as usize * (MESSAGE_BYTES_MAX / 4)).saturating_sub(4);
                let values = if row.piece == 0 { tensor_header(row.data)?.1 } else { row.data };
                for (place, bytes) in (place..).zip(values.as_chunks::<4>().0) {
                    let value = f32::from_le_bytes(*bytes);
                    if !value.is_finite() {
                        return Err("a value is not finite".into());
                    }
                    let weighted = f64::from(value) * rows;
                    if worker == 0 {
                        sums.push(weighted);
                    } else {
                        sums[place] += weighted;
                    }
                }
            }
        }
    }
    Ok(sums.iter().sum())
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    group.throughput(Throughput::Elements(2 * UPDATE_VALUES as u64));
    group.bench_function("average_two_workers", |b| b.iter(average));
    group.bench_function("average_two_workers_value_by_value", |b| b.iter(average_value_by_value));
    group.bench_function("answer_of_two_workers", |b| b.iter(|| [answer(0).is_ok(), answer(1).is_ok()]));
    group.finish();
}

criterion_group!(benches, images, updates);
criterion_main!(benches);
