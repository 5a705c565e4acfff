//! Benchmarks of the operations per image and per update.

use std::error::Error;
use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::{GrayImage, ImageFormat};
use tusk_benches::model::{Published, table};
use tusk_benches::{IMAGE_SIDE, NET_SIDE, UPDATE_VALUES, image, output};
use tusk_core::job::TrainReport;
use tusk_core::options::Augment;
use tusk_core::physical::{MESSAGE_BYTES_MAX, TaskOutput, tensor_header};
use tusk_executor::bench::{Batch, build_shard};
use tusk_pixels::{Channels, decode, resize};
use tusk_scheduler::Aggregator;

/// Images of a batch, and rows of a table.
const IMAGES: usize = 32;

type Outcome = Result<(), Box<dyn Error>>;

fn images(c: &mut Criterion) -> Outcome {
    let pixels = decode(&image()?, Channels::Grey)?;
    let mut group = c.benchmark_group("image");
    group.throughput(Throughput::Elements(1));
    let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP];
    for format in formats {
        let Some(buffer) = GrayImage::from_raw(pixels.width, pixels.height, pixels.data.clone()) else { continue };
        let mut bytes = Cursor::new(Vec::new());
        // The WebP encoder does not write grey images.
        let buffer = image::DynamicImage::from(buffer);
        let buffer = if format == ImageFormat::WebP { buffer.into_rgb8().into() } else { buffer };
        buffer.write_to(&mut bytes, format)?;
        let name = format!("decode_{}_{}_grey", format.extensions_str()[0], pixels.width);
        group.bench_function(name, |b| b.iter(|| decode(black_box(bytes.get_ref()), Channels::Grey)));
    }
    group.bench_function("resize_224_to_128", |b| b.iter(|| resize(black_box(&pixels), NET_SIDE, NET_SIDE)));
    group.finish();
    Ok(())
}

fn batches(c: &mut Criterion) -> Outcome {
    let rows = table(IMAGES, IMAGE_SIDE)?;
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(IMAGES as u64));
    group.bench_function("build_shard", |b| b.iter(|| build_shard(black_box(&rows), NET_SIDE)));
    for (name, augment) in [("normalise", Augment::default()), ("augment_xray", Augment::xray())] {
        let batch = Batch::new((0..IMAGES as u64).collect(), NET_SIDE, augment)?;
        group.bench_function(name, |b| b.iter(|| batch.input(black_box(1))));
    }
    let published = published()?;
    group.bench_function("predict", |b| b.iter(|| published.predict(black_box(&rows))));
    group.finish();
    Ok(())
}

fn published() -> Result<Published, Box<dyn Error>> {
    Ok(tokio::runtime::Runtime::new()?.block_on(Published::new())?)
}

fn plans(c: &mut Criterion) -> Outcome {
    let published = published()?;
    let bytes = published.encode()?;
    let mut group = c.benchmark_group("plan");
    group.bench_function("encode", |b| b.iter(|| published.encode()));
    group.bench_function("decode", |b| b.iter(|| published.decode(black_box(&bytes))));
    group.finish();
    Ok(())
}

/// The mean of two workers' updates.
fn average() -> Result<usize, Box<dyn Error>> {
    let mut aggregator = Aggregator::<TrainReport>::new(2);
    for (first, second) in output(0)?.into_iter().zip(output(1)?) {
        for (first, second) in TaskOutput::rows(&first)?.zip(TaskOutput::rows(&second)?) {
            aggregator.fold(&[Some(first), Some(second)])?;
        }
    }
    Ok(aggregator.finish()?.0.parameters())
}

/// The baseline of the aggregator's loops over blocks: the same computation, one value at a time.
fn average_value_by_value() -> Result<f64, Box<dyn Error>> {
    let (mut sums, mut rows) = (Vec::new(), 0.0);
    for worker in 0..2 {
        for batch in output(worker)? {
            for row in TaskOutput::rows(&batch)? {
                if let Some(report) = row.report::<TrainReport>()? {
                    rows = report.task.rows as f64;
                    continue;
                }
                // The first piece begins with the tensor's shape, which has the length of four values.
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

fn updates(c: &mut Criterion) -> Outcome {
    let mut group = c.benchmark_group("update");
    group.throughput(Throughput::Elements(2 * UPDATE_VALUES as u64));
    group.bench_function("average_two_workers", |b| b.iter(average));
    group.bench_function("average_two_workers_value_by_value", |b| b.iter(average_value_by_value));
    group.bench_function("output_of_two_workers", |b| b.iter(|| [output(0).is_ok(), output(1).is_ok()]));
    group.finish();
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a failed setup is reported on stderr and ends the program")]
fn all(c: &mut Criterion) {
    for benches in [images, batches, plans, updates] {
        if let Err(error) = benches(c) {
            eprintln!("cannot set up a benchmark: {error}");
            std::process::exit(1);
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
