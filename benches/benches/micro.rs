//! What happens once per image and once per update.

use std::error::Error;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tusk_benches::{NET_SIDE, UPDATE_VALUES, answer, picture};
use tusk_core::physical::Answer;
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

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    group.throughput(Throughput::Elements(2 * UPDATE_VALUES as u64));
    group.bench_function("average_two_workers", |b| b.iter(average));
    group.finish();
}

criterion_group!(benches, images, updates);
criterion_main!(benches);
