//! Shortcuts that are planted in drawn images: SHOW SHORTCUTS finds them, and a net that is trained with the default options
//! does not learn them.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma};

use crate::fixture::{Fixture, next};

/// Images of a class.
const IMAGES: u64 = 80;

/// What tells the classes apart, besides a light disc in PNEUMONIA that is the subject.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planted {
    /// The ratio of width to height.
    Shape,
    /// A light square in a corner.
    Mark,
    /// The quality of the JPEG.
    Quality,
}

/// Returns an image of noise with a ring in its middle, as a JPEG. `is_ill` says whether the disc is in it, and `is_planted` whether it
/// has the planted shortcut.
fn drawn(planted: Planted, is_ill: bool, is_planted: bool, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let (width, height) = match (planted, is_planted) {
        (Planted::Shape, true) => (72, 64),
        (Planted::Shape, false) => (64, 72),
        _ => (64, 64),
    };
    let angle = next(&mut state) as f64 / u64::MAX as f64 * std::f64::consts::TAU;
    let image = GrayImage::from_fn(width, height, |x, y| {
        let (right, down) = (f64::from(x) - f64::from(width) / 2.0, f64::from(y) - f64::from(height) / 2.0);
        let is_ring = (right.hypot(down) - 24.0).abs() < 3.0;
        let is_disc = is_ill && (right - 9.0 * angle.cos()).hypot(down - 9.0 * angle.sin()) < 7.0;
        let is_mark = planted == Planted::Mark && is_planted && (4..12).contains(&x) && (4..12).contains(&y);
        let level = 60 + (next(&mut state) % 60) as u32 + 90 * u32::from(is_ring) + 60 * u32::from(is_disc);
        Luma([if is_mark { 230 } else { level.min(255) as u8 }])
    });
    let quality = if planted != Planted::Quality {
        95
    } else if is_planted {
        20
    } else {
        90
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&image).unwrap();
    bytes
}

/// Writes `folder/planted/CLASS`, where all ill images have the shortcut, and `folder/swapped/CLASS`, where all healthy ones have it.
fn draw(folder: &Path, planted: Planted) {
    for (part, is_swapped) in [("planted", false), ("swapped", true)] {
        for (class, name) in ["NORMAL", "PNEUMONIA"].into_iter().enumerate() {
            let folder = folder.join(part).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for index in 0..IMAGES {
                let (is_ill, seed) = (class == 1, (u64::from(is_swapped) * 2 + class as u64) * IMAGES + index);
                let bytes = drawn(planted, is_ill, is_ill != is_swapped, seed);
                std::fs::write(folder.join(format!("{index:03}.jpeg")), bytes).unwrap();
            }
        }
    }
}

/// Asserts that a shortcut is found, that a net learns it without augmentation, and that it does not with these options.
async fn assert_unlearned(planted: Planted, found_as: &str, options: &str) {
    let fixture = Fixture::new().await;
    draw(&fixture.path("drawn"), planted);
    for part in ["planted", "swapped"] {
        fixture.run(&format!("CREATE EXTERNAL TABLE {part} STORED AS IMAGES LOCATION '{{dir}}/drawn/{part}'")).await;
    }
    let found = fixture.rows("SHOW SHORTCUTS FOR planted").await;
    let found = found.iter().find(|row| row[0] == found_as).unwrap();
    assert!(found[1].parse::<f64>().unwrap() > 0.9 && found[5] != "NULL", "{found:?}");
    let auc = async |options: &str| -> f64 {
        let options =
            format!("image_size = 64, batch_size = 8, epochs = 20, precision = 'f32', early_stop = false{options}");
        fixture.run(&format!("CREATE OR REPLACE MODEL m USING cnn OPTIONS ({options}) TRAIN ON planted")).await;
        let auc = "SELECT roc_auc(label, predict_proba('m', image, 'PNEUMONIA'), 'PNEUMONIA') FROM swapped";
        fixture.cell(auc).await.parse().unwrap()
    };
    let (without, with) = (auc(", augment = 'none'").await, auc(options).await);
    assert!(without < 0.4, "{planted:?} was not learned: {without}");
    assert!(with > 0.9, "{planted:?} was learned: {with}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_is_not_learned() {
    assert_unlearned(Planted::Shape, "width / height", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quality_of_jpegs_is_not_learned() {
    assert_unlearned(Planted::Quality, "JPEG quality", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_not_learned_with_marks() {
    let list =
        "rotate, shift, zoom, stretch, frame, processing, brightness, contrast, gamma, blur, noise, cutout, marks";
    assert_unlearned(Planted::Mark, "probe: outer 10 %", &format!(", augment = '{list}'")).await;
}
