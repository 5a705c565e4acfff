//! ADAPT MODEL: adapting a model to the images of a site, without labels.

use std::time::Duration;

use tusk::{CacheLimits, TuskContext};
use tusk_core::state::{ModelState, checksum, is_running_statistic};

use crate::fixture::{Fixture, cells, context_options, create};

/// Options of a model that learns the bars well in a few epochs. Its statistics are those of the images as they are.
const EASY: &str = ", augment = 'none', learning_rate = 0.003, early_stop = false";

/// The images of a site whose contrast is a third of that of the training images. They have no labels.
const SITE: &str = "(SELECT change_image(change_image(change_image(image, 'low contrast'), 'low contrast'), 'low contrast') \
                    AS image, path FROM xrays)";

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("'{cell}' is not a number"))
}

fn state(bytes: &[u8]) -> ModelState {
    ModelState::from_safetensors("w", bytes, &checksum(bytes)).unwrap()
}

async fn trained() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.train("m", 12, EASY, "xrays").await;
    fixture
}

/// The property of a model in DESCRIBE MODEL.
async fn property(fixture: &Fixture, model: &str, name: &str) -> String {
    let rows = fixture.rows(&format!("DESCRIBE MODEL {model}")).await;
    rows.into_iter().find(|row| row[0] == name).unwrap()[1].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_model_gets_the_statistics_of_a_site_and_nothing_else() {
    let fixture = trained().await;
    let before = fixture.weights("m").await;
    let row = fixture.rows(&format!("ADAPT MODEL m TO {SITE} AS n")).await.remove(0);
    assert_eq!((row[0].as_str(), row[1].as_str(), row[2].as_str(), row[6].as_str()), ("n", "48", "0", "NULL"));
    assert!(number(&row[4]) >= number(&row[3]) && number(&row[3]) > 0.0 && !row[5].is_empty(), "{row:?}");
    assert!(fixture.weights("m").await == before, "the model itself is changed");
    let (old, new) = (state(&before), state(&fixture.weights("n").await));
    for (old, new) in old.iter().zip(new.iter()) {
        assert_eq!((&old.name, &old.shape), (&new.name, &new.shape));
        assert_eq!(old.data != new.data, is_running_statistic(&old.name), "{}", old.name);
    }
    let (m, n) = (fixture.manifest("m").await, fixture.manifest("n").await);
    assert_eq!((m.threshold, &m.calibration, &m.validation), (n.threshold, &n.calibration, &n.validation));
    assert!(m.adapted.is_empty());
    let [adaptation] = n.adapted.as_slice() else { panic!("{:?}", n.adapted) };
    assert_eq!((adaptation.images, adaptation.skipped, adaptation.workers), (48, 0, 1));
    assert_eq!((adaptation.batch_size, adaptation.strength, &adaptation.prior), (Some(64), 1.0, &None));
    assert_eq!((adaptation.model.as_str(), &adaptation.weights), ("m", &m.weights.checksum));
    assert!(adaptation.source.starts_with("(SELECT change_image("), "{}", adaptation.source);
    assert_eq!(property(&fixture, "m", "adapted").await, "none");
    let described = property(&fixture, "n", "adapted").await;
    assert!(
        described.contains(": 48 images, 0 unreadable; statistics with strength 1, in batches of 64;"),
        "{described}"
    );
    assert!(described.ends_with("\nthe threshold, the calibration and the validation metrics are from before"));
    let card = fixture.cell("DESCRIBE MODEL n CARD").await;
    assert!(
        card.contains("## Adaptations\n\nWithout labels") && card.contains("before the model was adapted."),
        "{card}"
    );
    assert!(!fixture.cell("DESCRIBE MODEL m CARD").await.contains("dapted"));
    let draft = std::fs::read_dir(fixture.path("store/models/n.new")).map_or(0, |files| files.count());
    assert_eq!(draft, 0, "files of the draft are left");
    let models: Vec<String> = fixture.rows("SHOW MODELS").await.into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(models, ["m", "n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_better_on_a_site_that_it_is_adapted_to() {
    let fixture = trained().await;
    let labelled = SITE.replace("path FROM", "label, path FROM");
    let loss =
        async |model: &str, on: &str| number(&fixture.rows(&format!("EVALUATE MODEL {model} ON {on}")).await[0][3]);
    let (home, before) = (loss("m", "xrays").await, loss("m", &labelled).await);
    fixture.run(&format!("ADAPT MODEL m TO {SITE}")).await;
    let after = loss("m", &labelled).await;
    assert!(after < before, "the loss is {home} at home, and {before} before and {after} after adapting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_keeps_the_history_of_its_adaptations() {
    let fixture = trained().await;
    let first = fixture.manifest("m").await.weights;
    fixture.run(&format!("ADAPT MODEL m TO {SITE} OPTIONS (strength = 0.5, batch_size = 7)")).await;
    let second = fixture.manifest("m").await.weights;
    assert!(!fixture.path("store").join(&first.path).exists(), "the weights before are kept");
    fixture.run("ADAPT MODEL m TO xrays AS m").await;
    let manifest = fixture.manifest("m").await;
    let history: Vec<(&str, &str)> = manifest.adapted.iter().map(|a| (a.model.as_str(), a.weights.as_str())).collect();
    assert_eq!(history, [("m", first.checksum.as_str()), ("m", second.checksum.as_str())]);
    assert_eq!(manifest.adapted[1].source, "xrays");
    let described = property(&fixture, "m", "adapted").await;
    assert_eq!(described.lines().count(), 3, "{described}");
    assert_eq!(fixture.cell("SELECT count(predict('m', image)) FROM xrays").await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weights_are_reproducible_and_nearly_the_same_for_two_workers() {
    let fixture = trained().await;
    for (name, workers) in [("one", 1), ("again", 1), ("two", 2)] {
        let options = format!("workers = {workers}, batch_size = 8");
        fixture.run(&format!("ADAPT MODEL m TO {SITE} AS {name} OPTIONS ({options})")).await;
    }
    assert!(fixture.weights("one").await == fixture.weights("again").await);
    assert_eq!(fixture.manifest("two").await.adapted[0].workers, 2);
    let (one, two) = (state(&fixture.weights("one").await), state(&fixture.weights("two").await));
    // Only the first layer sees the same values whatever the batches.
    for name in ["bn1.running_mean", "bn1.running_var"] {
        let (one, two) = (one.get(name).unwrap(), two.get(name).unwrap());
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        assert!(one.data.iter().zip(&two.data).all(is_near), "{name}: {one:?} {two:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_frequencies_of_a_site_are_estimated_and_correct_all_probabilities() {
    let fixture = trained().await;
    // 24 images with pneumonia and 8 without.
    let site = "(SELECT image FROM xrays WHERE label = 'PNEUMONIA' OR \"group\" IN ('person000', 'person001'))";
    let row = fixture
        .rows(&format!("ADAPT MODEL m TO {site} AS n OPTIONS (strength = 0, class_prior = true)"))
        .await
        .remove(0);
    assert_eq!((row[1].as_str(), row[3].as_str(), row[5].as_str()), ("32", "NULL", "NULL"));
    let manifest = fixture.manifest("n").await;
    let prior = manifest.prior().unwrap().clone();
    assert!((prior.site[1] - 0.75).abs() < 0.15, "{prior:?}");
    // The default class weights make both classes count the same.
    assert_eq!(prior.raw, [0.5, 0.5]);
    assert_eq!(row[6], format!("NORMAL: {:.4}, PNEUMONIA: {:.4}", prior.site[0], prior.site[1]));
    assert_eq!(property(&fixture, "n", "class_frequencies").await, row[6]);
    assert!(fixture.weights("n").await == fixture.weights("m").await, "the statistics have changed");
    let [normal, pneumonia] = [prior.site[0], prior.site[1]];
    let corrected = format!("p * {pneumonia} / (p * {pneumonia} + (1 - p) * {normal})");
    let sql = format!(
        "SELECT count(*) FROM (SELECT predict_proba('m', image, 'PNEUMONIA') AS p, predict_proba('n', image, 'PNEUMONIA') \
         AS q FROM xrays) WHERE abs(q - {corrected}) < 0.0001"
    );
    assert_eq!(fixture.cell(&sql).await, "48");
    // Calibrated decisions are those of the model's threshold, as ever.
    let matrix = "EVALUATE MODEL n ON xrays OPTIONS (show = 'confusion_matrix', calibrated = ";
    let (raw, calibrated) =
        (fixture.rows(&format!("{matrix}false)")).await, fixture.rows(&format!("{matrix}true)")).await);
    assert_eq!(raw, calibrated);
    let refusal = fixture.refusal("CREATE MODEL e USING ensemble OPTIONS (members = 'm, n')").await;
    assert!(refusal.starts_with("'n' is corrected for the class frequencies of a site"), "{refusal}");
    // The next site has its own frequencies.
    fixture.run("ADAPT MODEL n TO xrays").await;
    assert_eq!(property(&fixture, "n", "class_frequencies").await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_net_without_normalization_has_only_class_frequencies_to_adapt() {
    let fixture = Fixture::new().await;
    fixture.run(&create("linear", 2, "", "xrays").replace("USING cnn", "USING svm")).await;
    let refusal = fixture.refusal("ADAPT MODEL linear TO xrays").await;
    assert!(refusal.starts_with("'linear' (svm) has no normalization layers"), "{refusal}");
    let refusal = fixture.refusal("ADAPT MODEL linear TO xrays OPTIONS (class_prior = true, strength = 0.5)").await;
    assert!(refusal.starts_with("strength is for the statistics of normalization layers"), "{refusal}");
    let row = fixture.rows("ADAPT MODEL linear TO xrays OPTIONS (class_prior = true)").await.remove(0);
    assert!(row[1] == "48" && row[6].starts_with("NORMAL: 0."), "{row:?}");
    assert_eq!(fixture.manifest("linear").await.adapted[0].batch_size, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nets_of_a_cross_validation_are_adapted() {
    let fixture = Fixture::new().await;
    let folds = create("m", 1, ", folds = 2", "xrays").replace("validation_fraction = 0.4, ", "");
    fixture.run(&folds).await;
    let before = state(&fixture.weights("m").await);
    let row = fixture.rows(&format!("ADAPT MODEL m TO {SITE} OPTIONS (class_prior = true)")).await.remove(0);
    assert!(row[5].starts_with("fold-"), "{row:?}");
    let after = state(&fixture.weights("m").await);
    for (before, after) in before.iter().zip(after.iter()) {
        assert_eq!(before.name, after.name);
        assert_eq!(before.data != after.data, is_running_statistic(&before.name), "{}", before.name);
    }
    assert_eq!(fixture.cell("SELECT count(predict('m', image)) FROM xrays").await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_images_are_counted_and_other_models_are_not_replaced() {
    let fixture = trained().await;
    fixture.train("other", 1, "", "xrays").await;
    let refusal = fixture.refusal("ADAPT MODEL m TO xrays AS other").await;
    assert_eq!(
        refusal,
        "model 'other' exists, and ADAPT MODEL replaces no other model than the one it adapts. Choose another name after AS, \
         or DROP MODEL other"
    );
    let site = "(SELECT CASE WHEN path = 'NORMAL/person000_0.png' THEN X'00' ELSE image END AS image FROM xrays)";
    let row = fixture.rows(&format!("ADAPT MODEL m TO {site} AS n")).await.remove(0);
    assert_eq!((row[1].as_str(), row[2].as_str()), ("47", "1"));
    let refusal = fixture.refusal("ADAPT MODEL m TO (SELECT image FROM xrays LIMIT 31)").await;
    assert!(
        refusal.starts_with("the query has 31 readable images and 0 unreadable ones. A model is adapted to"),
        "{refusal}"
    );
    let refusal = fixture.refusal("ADAPT MODEL m TO xrays OPTIONS (workers = 24)").await;
    assert!(refusal.ends_with("has one image of xrays, which has no variance; use fewer workers"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_statement_leaves_the_model_as_it_was() {
    let fixture = trained().await;
    let before = fixture.manifest("m").await;
    let results = fixture.context.sql(&format!("ADAPT MODEL m TO {SITE}")).await.unwrap();
    let refusal = fixture.refusal("DROP MODEL m").await;
    assert!(refusal.starts_with("model 'm' is already being trained"), "{refusal}");
    drop(results);
    while !fixture.context.cluster_status().await.unwrap().runs.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.manifest("m").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_client_adapts_a_model_too() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let url = fixture.context.scheduler_url().unwrap();
    let options = context_options(&fixture.path(""), CacheLimits::default());
    let remote = TuskContext::remote_with(&url, options).await.unwrap();
    let run = async |sql: &str| remote.sql(&fixture.fill(sql)).await.unwrap().collect().await.unwrap();
    run("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{dir}/xrays.parquet'").await;
    let row = cells(&run("ADAPT MODEL m TO t AS n").await).remove(0);
    assert_eq!((row[0].as_str(), row[1].as_str()), ("n", "48"));
    assert_eq!(fixture.manifest("n").await.adapted[0].source, "t");
}
