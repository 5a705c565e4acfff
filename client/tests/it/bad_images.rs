//! Training tables with unreadable images.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use image::{ImageFormat, Luma};
use tracing_subscriber::fmt::MakeWriter;

use crate::fixture::{Fixture, bar_image, create};

/// The files that cannot be read, in the order of their names, and the beginning of their errors.
const BROKEN: [(&str, &str); 5] = [
    ("NORMAL/bomb.png", "the PNG image declares 60000 x 60000 pixels"),
    ("NORMAL/empty.png", "the image is empty (0 bytes)"),
    ("NORMAL/text.jpeg", "unsupported image format"),
    ("PNEUMONIA/truncated.jpeg", "the JPEG image is truncated"),
    ("PNEUMONIA/truncated.png", "the PNG image is corrupt: unexpected end of file"),
];

fn encoded(format: ImageFormat, seed: u64) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    bar_image(1, seed).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG whose header declares 60000 x 60000 pixels, with a correct checksum.
fn bomb() -> Vec<u8> {
    let mut bytes = encoded(ImageFormat::Png, 900);
    bytes[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

/// Adds five unreadable files and two unusual readable ones: a PNG named .jpeg, and a single pixel.
fn add_bad_files(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("NORMAL/bomb.png", &bomb());
    write("NORMAL/empty.png", b"");
    write("NORMAL/text.jpeg", b"this is a letter, not an image");
    let (jpeg, png) = (encoded(ImageFormat::Jpeg, 901), encoded(ImageFormat::Png, 902));
    write("PNEUMONIA/truncated.jpeg", &jpeg[..jpeg.len() / 2]);
    write("PNEUMONIA/truncated.png", &png[..png.len() / 2]);
    write("PNEUMONIA/really_a_png.jpeg", &encoded(ImageFormat::Png, 903));
    let pixel = image::GrayImage::from_pixel(1, 1, Luma([77]));
    pixel.save(folder.join("PNEUMONIA/pixel.png")).unwrap();
}

async fn spoiled() -> Fixture {
    let fixture = Fixture::new().await;
    add_bad_files(&fixture.path("pictures"));
    fixture.run("CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{dir}/pictures'").await;
    fixture
}

/// A log that the test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const OPTIONS: &str = "image_size = 32, batch_size = 8, precision = 'f32', validation_fraction = 0.25, epochs = 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_few_unreadable_images_are_counted_listed_and_skipped() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
    // No other test of this binary reads the log of the process.
    tracing::subscriber::set_global_default(subscriber.with_max_level(tracing::Level::WARN).finish()).unwrap();
    let fixture = spoiled().await;
    let epochs =
        fixture.rows(&format!("CREATE MODEL few OPTIONS ({OPTIONS}, max_bad_fraction = 0.2) TRAIN ON pictures")).await;
    assert_eq!(epochs[0][8], "5", "{epochs:?}");
    let data = fixture.manifest("few").await.data;
    let used: u64 = data.train_rows.values().chain(data.val_rows.values()).sum();
    assert_eq!((data.skipped, used), (5, 50), "the PNG named .jpeg and the single pixel are readable");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for (name, reason) in BROKEN {
        let line = log.lines().find(|line| line.contains(name) && line.contains("few"));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name} is not in the log:\n{log}");
    }
    // Prediction returns NULL for them, and evaluation counts them.
    let nulls = "SELECT path FROM pictures WHERE predict('few', image) IS NULL ORDER BY path";
    assert_eq!(fixture.rows(nulls).await.concat(), BROKEN.map(|(name, _)| name));
    let evaluation = fixture.rows("EVALUATE MODEL few ON pictures").await.remove(0);
    assert_eq!((evaluation[1].as_str(), evaluation[2].as_str()), ("50", "5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_unreadable_images_fail_the_run_and_are_listed() {
    let fixture = spoiled().await;
    let message = fixture.refusal(&format!("CREATE MODEL m OPTIONS ({OPTIONS}) TRAIN ON pictures")).await;
    let start = "5 of 55 images of pictures cannot be read, more than max_bad_fraction = 0.01 allows: ";
    assert!(message.starts_with(start), "{message}");
    for (name, reason) in BROKEN {
        assert!(message.contains(&format!("{name} ({reason}")), "{name} is not named: {message}");
    }
    assert!(fixture.rows("SHOW MODELS").await.is_empty());
    // The same files from Parquet. Rows without a path are named by their position.
    fixture.run("COPY (SELECT image, label FROM pictures) TO '{dir}/spoiled.parquet'").await;
    fixture.run("CREATE EXTERNAL TABLE spoiled STORED AS PARQUET LOCATION '{dir}/spoiled.parquet'").await;
    let message = fixture.refusal(&format!("CREATE MODEL m OPTIONS ({OPTIONS}) TRAIN ON spoiled")).await;
    assert!(message.starts_with("5 of 55 images of spoiled cannot be read") && message.contains("row "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_readable_images_is_always_refused() {
    let fixture = Fixture::new().await;
    let on = "(SELECT X'00' AS image, label, path FROM xrays)";
    let message =
        fixture.refusal(&create("m", 1, ", max_bad_fraction = 1", on).replace(", \"group\" = 'group'", "")).await;
    assert!(message.starts_with("48 of 48 images of the query cannot be read"), "{message}");
    assert!(message.ends_with("; ..."), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_images_are_counted_like_broken_ones() {
    let fixture = Fixture::new().await;
    let on = "(SELECT CASE WHEN path = 'NORMAL/person000_0.png' THEN NULL ELSE image END AS image, label, path, \
              \"group\" FROM xrays)";
    let message = fixture.refusal(&create("m", 1, "", on)).await;
    assert_eq!(
        message,
        "1 of 48 images of the query cannot be read, more than max_bad_fraction = 0.01 allows: \
         NORMAL/person000_0.png (it is NULL)"
    );
    let epochs = fixture.train("m", 1, ", max_bad_fraction = 0.05", on).await;
    assert_eq!(epochs[0][8], "1");
}

/// A run with one unreadable image that allows none.
#[tokio::test(flavor = "multi_thread")]
async fn one_unreadable_image_fails_a_strict_run_at_once_with_its_name_and_reason() {
    for (file, bytes, reason) in [
        ("NORMAL/bomb.png", bomb(), "the PNG image declares 60000 x 60000 pixels"),
        ("NORMAL/text.jpeg", b"this is a letter, not an image".to_vec(), "unsupported image format"),
    ] {
        let fixture = Fixture::new().await;
        std::fs::write(fixture.path("pictures").join(file), bytes).unwrap();
        fixture.run("CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{dir}/pictures'").await;
        let strict = format!("CREATE MODEL m OPTIONS ({OPTIONS}, workers = 3, max_bad_fraction = 0) TRAIN ON pictures");
        let started = std::time::Instant::now();
        let message = fixture.refusal(&strict).await;
        let start = "1 of 49 images of pictures cannot be read, more than max_bad_fraction = 0 allows: ";
        assert!(message.starts_with(start) && message.contains(&format!("{file} ({reason}")), "{message}");
        // The error does not go away, so no task is tried a second time.
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
        assert!(fixture.rows("SHOW MODELS").await.is_empty());
        // Without the file, the same statement trains.
        std::fs::remove_file(fixture.path("pictures").join(file)).unwrap();
        fixture.run(&strict).await;
    }
}

/// A query that fails in every attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_an_unreadable_image_fails_at_once_with_the_reason() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("pictures/NORMAL/bomb.png"), bomb()).unwrap();
    fixture.run("CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{dir}/pictures'").await;
    let started = std::time::Instant::now();
    let message = fixture.refusal("SELECT path, decode_image(image) FROM pictures").await;
    assert!(message.contains("the PNG image declares 60000 x 60000 pixels"), "{message}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
