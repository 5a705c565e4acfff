//! EVALUATE with `show = 'shortcuts'`: how far the scores of a model follow nuisances, and what is kept of it.

use std::collections::BTreeMap;
use std::path::Path;

use image::{GrayImage, ImageFormat, Luma};
use tusk::CacheLimits;
use tusk_core::manifest::{NuisanceUse, Verdict};

use crate::fixture::{Fixture, THREE, next};

/// Images of a class.
const IMAGES: u64 = 120;

/// Options of a net that learns the drawn images.
const OPTIONS: &str = "image_size = 32, batch_size = 8, epochs = 8, precision = 'f32', augment = 'none'";

/// Writes images of noise to `folder/CLASS`. The level of the frame, 10 to 129 in PNEUMONIA and 60 to 179 in NORMAL, is all that
/// tells the classes apart.
fn draw(folder: &Path) {
    for (class, name) in ["NORMAL", "PNEUMONIA"].into_iter().enumerate() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for index in 0..IMAGES {
            let mut state = class as u64 * IMAGES + index;
            let level = (index * 7 % IMAGES) as u8 + if class == 0 { 60 } else { 10 };
            let image = GrayImage::from_fn(40, 40, |x, y| {
                let is_frame = [x, y].iter().any(|place| !(6..34).contains(place));
                let noise = (next(&mut state) % 90) as u8;
                Luma([if is_frame { level } else { 60 + noise }])
            });
            image.save_with_format(folder.join(format!("{index:03}.png")), ImageFormat::Png).unwrap();
        }
    }
}

/// Options that hold out enough images for intervals.
const HELD_OUT: &str = ", validation_fraction = 0.4";

/// A fixture with the table `drawn`.
async fn drawn() -> Fixture {
    let fixture = Fixture::new().await;
    draw(&fixture.path("drawn"));
    fixture.run("CREATE EXTERNAL TABLE drawn STORED AS IMAGES LOCATION '{dir}/drawn'").await;
    fixture
}

/// Trains a net. `more` are options, after a comma.
async fn train(fixture: &Fixture, name: &str, more: &str, on: &str) {
    fixture.run(&format!("CREATE MODEL {name} USING cnn OPTIONS ({OPTIONS}{more}) TRAIN ON {on}")).await;
}

/// The correlation and the verdict, by nuisance and class. There is no correlation if it is NULL.
async fn uses(fixture: &Fixture, sql: &str) -> BTreeMap<(String, String), (Option<f64>, String)> {
    let rows = fixture.rows(sql).await;
    rows.into_iter().map(|row| ((row[0].clone(), row[1].clone()), (row[3].parse().ok(), row[6].clone()))).collect()
}

fn assert_follows_the_border(uses: &[NuisanceUse]) {
    for class in ["NORMAL", "PNEUMONIA"] {
        let of = |name: &str| uses.iter().find(|one| one.nuisance == name && one.class == class).unwrap();
        assert_eq!(of("border level").verdict(), Verdict::Falls, "{:?}", of("border level"));
        assert_eq!(of("width").verdict(), Verdict::Same, "{:?}", of("width"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_learned_a_shortcut_follows_it_within_each_class() {
    let fixture = drawn().await;
    train(&fixture, "m", HELD_OUT, "drawn").await;
    // The run has measured it on its validation rows.
    let measured = fixture.manifest("m").await.uses.unwrap();
    assert_follows_the_border(&measured);
    let described = fixture.rows("DESCRIBE MODEL m").await;
    let shown = described.iter().find(|row| row[0] == "uses").map(|row| row[1].clone()).unwrap();
    assert!(shown.contains("(rank correlation -0."), "{shown}");
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    assert!(card.contains(&format!("Uses of nuisances on the validation rows: {shown}.")), "{card}");
    assert!(card.contains("`EVALUATE MODEL m ON your_table OPTIONS (show = 'shortcuts')`"), "{card}");

    // A number that has nothing to do with the image, and two words.
    let on = "(SELECT *, content_hash(image) % 97 AS dose, CASE WHEN content_hash(image) % 2 = 0 THEN 'A' ELSE 'B' END AS ward, \
              'CH' AS country FROM drawn)";
    let sql = format!("EVALUATE MODEL m ON {on} OPTIONS (show = 'shortcuts')");
    let rows = fixture.rows(&sql).await;
    assert!(rows.iter().all(|row| row[2] == "120" && row[7..] == ["240", "0", "0"]), "{rows:?}");
    let found = uses(&fixture, &sql).await;
    for class in ["NORMAL", "PNEUMONIA"] {
        let of = |name: &str| found.get(&(name.to_owned(), class.to_owned())).cloned();
        let (correlation, verdict) = of("border level").unwrap();
        assert!(
            correlation.unwrap() < -0.5 && verdict == "the score falls with it",
            "{class}: {correlation:?} {verdict}"
        );
        for name in ["width", "format", "column country"] {
            assert_eq!(of(name), Some((None, "it or the score is the same in all images".to_owned())), "{name}");
        }
        let (correlation, verdict) = of("column dose").unwrap();
        assert!(correlation.unwrap().abs() < 0.3 && !verdict.contains("the score falls"), "{class}: {verdict}");
        assert!(of("column ward = A").or(of("column ward = B")).unwrap().0.unwrap().abs() < 0.4);
        // The words of this column have one image each.
        assert!(found.keys().all(|(name, _)| !name.starts_with("column path")), "{:?}", found.keys());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_evaluation_of_a_model_is_on_its_card() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, ", learning_rate = 0.0003, threshold = 0.5", "xrays").await;
    let kept = |kind: &str| fixture.path(&format!("store/models/m/evaluation-{kind}.json")).exists();
    let by = "(SELECT *, CASE WHEN path LIKE '%png' THEN 'png' ELSE 'jpeg' END AS kind FROM xrays)";
    let rows = fixture.rows(&format!("EVALUATE MODEL m ON {by} OPTIONS (show = 'shortcuts', by = 'kind')")).await;
    assert!(rows.iter().any(|row| row[0] == "png") && rows.iter().any(|row| row[0] == "jpeg"), "{rows:?}");
    assert!(rows.iter().all(|row| row[8..] == ["24", "0", "0"]), "{rows:?}");
    fixture.run("EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts', calibrated = true)").await;
    fixture.run("EVALUATE MODEL m ON xrays").await;
    assert!(!kept("shortcuts") && !kept("stress"), "parts and calibrated probabilities are not kept");

    fixture.run("EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts')").await;
    let some = "(SELECT * FROM xrays WHERE path LIKE '%png')";
    fixture.run(&format!("EVALUATE MODEL m ON {some} OPTIONS (show = 'stress', threshold = 0.4)")).await;
    assert!(kept("shortcuts") && kept("stress"));
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    for said in [
        "## Robustness",
        "Uses of nuisances (xrays, 48 rows, 20",
        // Six patients per class.
        "48 images measured): too few rows.",
        "Stress test (the query, 24 rows, 20",
        "threshold 0.4000):",
        "| as is | 0.0000 |",
        "| coarse |",
    ] {
        assert!(card.contains(said), "no '{said}' in\n{card}");
    }
    // A record that is damaged is left out.
    std::fs::write(fixture.path("store/models/m/evaluation-shortcuts.json"), "{").unwrap();
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    assert!(
        card.contains("Uses of nuisances on other rows were not evaluated") && card.contains("Stress test ("),
        "{card}"
    );
    // The record of a model that was replaced is not about the new one.
    let replace =
        crate::fixture::create("m", 1, ", seed = 7", "xrays").replace("CREATE MODEL", "CREATE OR REPLACE MODEL");
    fixture.run(&replace).await;
    assert!(fixture.cell("DESCRIBE MODEL m CARD").await.contains("No stress test was run"));
    fixture.run("DROP MODEL m").await;
    assert!(!kept("stress"));
}

#[tokio::test(flavor = "multi_thread")]
async fn folds_and_tables_to_validate_on_are_measured_and_ignored_shortcuts_are_not() {
    let fixture = drawn().await;
    train(&fixture, "ignored", ", on_shortcut = 'ignore'", "drawn").await;
    assert_eq!(fixture.manifest("ignored").await.uses, None);
    let described = fixture.rows("DESCRIBE MODEL ignored").await;
    assert!(described.contains(&vec!["uses".to_owned(), "not measured".to_owned()]), "{described:?}");
    let [trained, others] =
        ["<> 0", "= 0"].map(|part| format!("(SELECT * FROM drawn WHERE content_hash(image) % 3 {part})"));
    train(&fixture, "validated", "", &format!("{trained} VALIDATE ON {others}")).await;
    let manifest = fixture.manifest("validated").await;
    let uses = manifest.uses.unwrap();
    assert_follows_the_border(&uses);
    assert!(uses.iter().all(|one| one.rows == manifest.data.val_rows[&one.class]), "{uses:?}");
    train(&fixture, "folds", ", folds = 2", "drawn").await;
    let uses = fixture.manifest("folds").await.uses.unwrap();
    assert!(uses.iter().all(|one| one.rows == IMAGES), "each row is validated once: {uses:?}");
    let border = uses.iter().filter(|one| one.nuisance == "border level");
    assert!(border.clone().count() == 2 && border.clone().all(|one| one.correlation.value.unwrap() < -0.3), "{uses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_three_classes_has_uses_for_each_and_a_threshold_is_refused() {
    let fixture = Fixture::with(THREE, CacheLimits::default()).await;
    fixture.train("m", 1, "", "xrays").await;
    let rows = fixture.rows("EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts')").await;
    for class in THREE {
        assert!(
            rows.iter().any(|row| row[1] == *class && row[0] == "sharpness" && row[2] == "24"),
            "{class}: {rows:?}"
        );
    }
    let refusal = fixture.refusal("EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts', threshold = 0.3)").await;
    assert_eq!(refusal, "the result of shortcuts does not depend on a threshold; leave the threshold out");
    let refusal = fixture.refusal("EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts', against = 'm')").await;
    assert_eq!(refusal, "against compares two models in one row; leave out show = 'shortcuts'");
}
