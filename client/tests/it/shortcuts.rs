//! SHOW SHORTCUTS on drawn images, in which something that is not the subject tells the classes apart.

use std::collections::BTreeMap;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, ImageEncoder, Luma};
use tusk::ingest::{IngestOptions, ingest};

use crate::fixture::{Fixture, next};

/// Images of a class.
const IMAGES: u64 = 120;

/// A planted shortcut: the size of an image, whether it has a light mark near a corner, and its JPEG quality, by its class and
/// its number.
type Planted = fn(class: u64, index: u64) -> (u32, u32, bool, u8);

/// Writes images of noise, in which only the planted shortcut depends on the class, to `folder/CLASS`.
fn draw(folder: &Path, planted: Planted) {
    for (class, name) in ["NORMAL", "PNEUMONIA"].into_iter().enumerate() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for index in 0..IMAGES {
            let mut state = class as u64 * IMAGES + index;
            let (width, height, is_marked, quality) = planted(class as u64, index);
            let image = GrayImage::from_fn(width, height, |x, y| {
                let is_mark = (4..12).contains(&x) && (4..12).contains(&y);
                let noise = (next(&mut state) % 90) as u8;
                Luma([if is_mark && is_marked { 230 } else { 60 + noise }])
            });
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&image).unwrap();
            std::fs::write(folder.join(format!("{index:03}.jpeg")), bytes).unwrap();
        }
    }
}

/// The shortcuts of drawn images: ROC AUC, its lower bound, and the advice, by name.
async fn shortcuts(planted: Planted) -> BTreeMap<String, (f64, f64, String)> {
    let fixture = Fixture::new().await;
    draw(&fixture.path("drawn"), planted);
    fixture.run("CREATE EXTERNAL TABLE drawn STORED AS IMAGES LOCATION '{dir}/drawn'").await;
    let rows = fixture.rows("SHOW SHORTCUTS FOR drawn").await;
    let order: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(order.is_sorted_by(|a, b| a >= b), "the best is not first: {order:?}");
    rows.into_iter()
        .map(|row| (row[0].clone(), (row[1].parse().unwrap(), row[2].parse().unwrap(), row[5].clone())))
        .collect()
}

/// Asserts that these shortcuts are found, with advice, and no others.
fn assert_found(found: &BTreeMap<String, (f64, f64, String)>, planted: &[&str]) {
    for (name, (auc, low, advice)) in found {
        if planted.contains(&name.as_str()) {
            assert!(*auc > 0.9 && *low > 0.8 && advice != "NULL", "{name}: {auc}, from {low}: {advice}");
        } else {
            assert!(*auc < 0.7 && advice == "NULL", "{name}: {auc}: {advice}");
        }
    }
    assert!(planted.iter().all(|name| found.contains_key(*name)), "{:?}", found.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_nothing_is_planted() {
    assert_found(&shortcuts(|_, _| (64, 64, false, 90)).await, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_of_the_originals_is_found() {
    let found = shortcuts(|class, index| (64 + 16 * class as u32 + index as u32 % 8, 64, false, 90)).await;
    for name in ["width", "width / height"] {
        assert!(found[name].0 > 0.99 && found[name].2.contains("stretch"), "{name}: {:?}", found[name]);
    }
    assert!((found["height"].0 - 0.5).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_near_a_corner_is_found_by_the_probes_of_the_frame() {
    let found = shortcuts(|class, index| (64, 64, class == 1 || index % 20 == 0, 90)).await;
    let (auc, low, advice) = &found["probe: outer 10 %"];
    assert!(*auc > 0.9 && *low > 0.85 && advice.contains("frame"), "{auc}, from {low}: {advice}");
    assert!(found["width"].0 < 0.6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quality_of_jpegs_is_found() {
    let found = shortcuts(|class, index| (64, 64, false, 60 + 20 * class as u8 + (index % 10) as u8)).await;
    for name in ["JPEG quality", "bytes", "bytes per pixel"] {
        assert!(found[name].0 > 0.95, "{name}: {:?}", found[name]);
    }
    assert!(
        found["JPEG quality"].2.contains("same") || found["JPEG quality"].2.contains("lowest"),
        "{:?}",
        found["JPEG quality"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_are_measured_by_their_values_in_other_groups() {
    let fixture = Fixture::new().await;
    let rows = "(SELECT image, label, \"group\", path, CASE WHEN label = 'NORMAL' THEN 'ward A' ELSE 'ward B' END AS ward, \
                CASE WHEN label = 'NORMAL' THEN 1 END AS dose, TRUE AS consent, DATE '2026-01-01' + (label = 'NORMAL')::INT AS day, \
                TIMESTAMP '2026-01-01' AS moment, INTERVAL '1 month' AS stay FROM xrays)";
    let found = fixture.rows(&format!("SHOW SHORTCUTS FOR {rows} OPTIONS (\"group\" = 'group')")).await;
    let auc = |name: &str| found.iter().find(|row| row[0] == name).map(|row| row[1].parse::<f64>().unwrap());
    assert_eq!(auc("column ward"), Some(1.0));
    assert_eq!(auc("column dose"), Some(1.0), "a missing value tells the classes apart too");
    // A word that no other group has says nothing.
    assert!(auc("column path").unwrap() < 0.7 && auc("column consent").unwrap() < 0.7, "{found:?}");
    assert_eq!((auc("column day"), auc("column moment"), auc("column stay")), (Some(1.0), Some(0.5), None));
    assert_eq!(auc("column label"), None);
    let of_ingest = fixture.rows("SHOW SHORTCUTS FOR (SELECT image, label, width, format FROM xrays)").await;
    assert!(of_ingest.iter().all(|row| !row[0].starts_with("column")), "headers are measured twice: {of_ingest:?}");
    let refusal = fixture.refusal("SHOW SHORTCUTS FOR xrays OPTIONS (lable = 'label')").await;
    assert!(refusal.contains("did you mean 'label'?"), "{refusal}");
    let refusal = fixture.refusal("SHOW SHORTCUTS FOR (SELECT * FROM xrays WHERE label = 'NORMAL')").await;
    assert!(refusal.starts_with("shortcuts tell classes apart"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn create_model_reports_shortcuts_refuses_them_or_does_not_measure_them() {
    let fixture = Fixture::new().await;
    draw(&fixture.path("drawn"), |class, index| (64 + 16 * class as u32 + index as u32 % 8, 64, false, 90));
    fixture.run("CREATE EXTERNAL TABLE drawn STORED AS IMAGES LOCATION '{dir}/drawn'").await;
    let create = |name: &str, option: &str| {
        format!("CREATE MODEL {name} USING svm OPTIONS (epochs = 1, image_size = 32{option}) TRAIN ON drawn")
    };
    let explained = fixture.rows(&format!("EXPLAIN {}", create("m", ""))).await;
    let last = &explained.last().unwrap()[0];
    assert!(last.starts_with("shortcuts: width") && last.contains("(ROC AUC 1.000)"), "{last}");
    fixture.run(&create("m", "")).await;
    let found = fixture.manifest("m").await.data.shortcuts.unwrap();
    let shown = fixture.rows("SHOW SHORTCUTS FOR drawn").await;
    assert_eq!(
        found.iter().map(|found| &found.name).collect::<Vec<_>>(),
        shown.iter().map(|row| &row[0]).collect::<Vec<_>>()
    );
    let described = fixture.rows("DESCRIBE MODEL m").await;
    let of = |name: &str| described.iter().find(|row| row[0] == name).map(|row| row[1].clone()).unwrap();
    assert!(of("shortcuts").starts_with("width"), "{}", of("shortcuts"));
    let refusal = fixture.refusal(&create("n", ", on_shortcut = 'fail'")).await;
    for part in ["tells the classes of drawn apart: width", "SHOW SHORTCUTS says what to do", "on_shortcut = 'warn'"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    fixture.run(&create("o", ", on_shortcut = 'ignore'")).await;
    assert_eq!(fixture.manifest("o").await.data.shortcuts, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_images_are_counted() {
    let fixture = Fixture::new().await;
    draw(&fixture.path("drawn"), |_, _| (64, 64, false, 90));
    std::fs::write(fixture.path("drawn").join("NORMAL/broken.jpeg"), b"no image").unwrap();
    fixture.run("CREATE EXTERNAL TABLE drawn STORED AS IMAGES LOCATION '{dir}/drawn'").await;
    let rows = fixture.rows("SHOW SHORTCUTS FOR drawn").await;
    assert!(rows.iter().all(|row| row[6..] == ["240", "0", "1"]), "{rows:?}");
}

/// An Exif block that says who made the device. The name has four letters.
fn made_by(name: &[u8; 4]) -> Vec<u8> {
    // One directory of one entry, a text of five bytes, which follows the directory.
    let head = b"MM\0*\0\0\0\x08\0\x01\x01\x0F\0\x02\0\0\0\x05\0\0\0\x1A\0\0\0\0";
    [head.as_slice(), name, &[0]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_maker_of_the_device_is_found() {
    let fixture = Fixture::new().await;
    for (class, name) in ["NORMAL", "PNEUMONIA"].into_iter().enumerate() {
        let folder = fixture.path("made").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for index in 0..40 {
            let mut state = class as u64 * 1000 + index;
            let image = GrayImage::from_fn(48, 48, |_, _| Luma([60 + (next(&mut state) % 90) as u8]));
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
            encoder.set_exif_metadata(made_by([b"Acme", b"Bolt"][class])).unwrap();
            encoder.encode_image(&image).unwrap();
            std::fs::write(folder.join(format!("{index:03}.jpeg")), bytes).unwrap();
        }
    }
    fixture.run("CREATE EXTERNAL TABLE made STORED AS IMAGES LOCATION '{dir}/made'").await;
    let makers = "SELECT DISTINCT image_tags(image)['make'] AS maker FROM made ORDER BY maker";
    assert_eq!(fixture.rows(makers).await, [["Acme"], ["Bolt"]]);
    let rows = fixture.rows("SHOW SHORTCUTS FOR made").await;
    let of = |name: &str| rows.iter().find(|row| row[0] == name);
    assert_eq!(of("Exif make").unwrap()[1], "1.0");
    assert!(of("Exif model").is_none() && of("Exif resolution").is_none(), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_ingested_is_measured_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("drawn");
    draw(&images, |class, index| (64 + 16 * class as u32 + index as u32 % 8, 64, false, 90));
    // The name of the file does not matter.
    let out = folder.path().join("drawn.table");
    ingest(&IngestOptions::new([&images], &out), &mut |_| {}).unwrap();
    let found = tusk::ingest::shortcuts(&out).await.unwrap();
    assert_eq!(found.images, 2 * IMAGES);
    let text = found.to_string();
    assert!(
        text.starts_with("shortcuts: ") && text.contains("\n  width: ROC AUC 1.000 (1.000 to 1.000) for "),
        "{text}"
    );
    let again = tusk::ingest::shortcuts(&out).await.unwrap();
    assert_eq!(found.shortcuts, again.shortcuts);
    ingest(&IngestOptions::new([images.join("NORMAL")], &out), &mut |_| {}).unwrap();
    let refusal = tusk::ingest::shortcuts(&out).await.unwrap_err().to_string();
    assert!(refusal.contains("have one class"), "{refusal}");
}
