//! Properties of every training run.

use tusk::CacheLimits;

use crate::fixture::{Fixture, PER_CLASS, TWO, create};

const ROWS: u64 = 2 * PER_CLASS;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_statement_gives_the_same_bytes_on_another_cluster() {
    let (one, other) = (Fixture::new().await, Fixture::new().await);
    one.train("m", 2, "", "xrays").await;
    other.train("n", 2, "", "xrays").await;
    let (weights, again) = (one.weights("m").await, other.weights("n").await);
    assert!(weights.len() > 100_000, "{} bytes are too few for a net", weights.len());
    assert!(weights == again, "two runs of one statement differ");
    other.train("seeded", 2, ", seed = 7", "xrays").await;
    assert!(weights != other.weights("seeded").await, "the seed has no effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_give_the_same_bytes_twice() {
    let fixture = Fixture::new().await;
    let epochs = fixture.train("m", 2, ", workers = 3", "xrays").await;
    assert!(epochs.iter().all(|row| row[9] == "3"), "{epochs:?}");
    fixture.train("n", 2, ", workers = 3", "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("n").await);
    let rows = fixture.manifest("m").await.data.rows_per_worker;
    assert_eq!((rows.len(), rows.iter().sum::<u64>()), (3, ROWS));
    assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn averages_within_an_epoch_are_reproducible_and_change_the_result() {
    let fixture = Fixture::new().await;
    for (name, options) in [
        ("m", ", workers = 2, averages_per_epoch = 2"),
        ("n", ", workers = 2, averages_per_epoch = 2"),
        ("once", ", workers = 2, averages_per_epoch = 1"),
    ] {
        let epochs = fixture.train(name, 2, options, "xrays").await;
        let training: u64 = fixture.manifest(name).await.data.train_rows.values().sum();
        assert!(epochs.iter().all(|row| row[7] == training.to_string()), "{epochs:?}");
    }
    let weights = fixture.weights("m").await;
    assert!(weights == fixture.weights("n").await);
    assert!(weights != fixture.weights("once").await, "the average within the epoch has no effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_readable_row_is_used_once_per_epoch() {
    let fixture = Fixture::new().await;
    for (name, options) in [
        ("one", ""),
        ("two", ", workers = 2"),
        ("parts", ", workers = 2, averages_per_epoch = 2"),
        ("all", ", augment = 'none'"),
    ] {
        let epochs = fixture.train(name, 2, options, "xrays").await;
        let data = fixture.manifest(name).await.data;
        let training: u64 = data.train_rows.values().sum();
        assert_eq!(training + data.val_rows.values().sum::<u64>(), ROWS);
        assert!(training < ROWS, "nothing was held out");
        assert_eq!(epochs.len(), 2);
        for row in epochs {
            assert_eq!((row[7].as_str(), row[8].as_str()), (training.to_string().as_str(), "0"));
        }
    }
    let sql = "CREATE MODEL whole OPTIONS (image_size = 32, epochs = 1, precision = 'f32', validation_fraction = 0) \
               TRAIN ON xrays";
    let epochs = fixture.rows(sql).await;
    assert_eq!(epochs[0][7], ROWS.to_string());
    assert_eq!(epochs[0][3], "NULL", "there is a validation loss without held-out rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_never_on_both_sides_of_the_split() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let data = fixture.manifest("m").await.data;
    // The groups have four images each, so a divided group would leave a remainder.
    for (class, rows) in data.train_rows.iter().chain(&data.val_rows) {
        assert_eq!(rows % 4, 0, "{class}: {rows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_sorted_by_label_gives_the_same_bytes() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE sorted AS SELECT * FROM xrays ORDER BY label, path").await;
    fixture.run("CREATE TABLE reversed AS SELECT * FROM xrays ORDER BY label DESC, path DESC").await;
    for (workers, names) in [(1, ["a1", "b1", "c1"]), (2, ["a2", "b2", "c2"])] {
        for (name, table) in names.iter().zip(["xrays", "sorted", "reversed"]) {
            fixture.train(name, 1, &format!(", workers = {workers}"), table).await;
        }
        let expected = fixture.weights(names[0]).await;
        for name in &names[1..] {
            assert!(fixture.weights(name).await == expected, "{name} with {workers} workers differs");
        }
    }
    let first = fixture.manifest("a1").await.data.fingerprint;
    assert_eq!(first, fixture.manifest("c1").await.data.fingerprint);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_learns_an_easy_task() {
    let fixture = Fixture::new().await;
    let epochs = fixture.train("m", 8, ", augment = 'none', learning_rate = 0.003", "xrays").await;
    let loss = |row: &Vec<String>| row[2].parse::<f64>().unwrap();
    assert!(loss(&epochs[0]) > 0.3, "{epochs:?}");
    assert!(loss(epochs.last().unwrap()) < 0.5 * loss(&epochs[0]), "{epochs:?}");
    let auc =
        fixture.cell("SELECT roc_auc(label = 'PNEUMONIA', predict_proba('m', image, 'PNEUMONIA')) FROM xrays").await;
    assert!(auc.parse::<f64>().unwrap() > 0.95, "{auc}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_store_predicts_the_same_numbers() {
    let fixture = Fixture::new().await;
    fixture.train("m", 2, ", positive = 'NORMAL', normalize = '0.4,0.2'", "xrays").await;
    let sql = "SELECT path, predict('m', image), predict_proba('m', image, 'NORMAL'), predict_proba('m', image) \
               FROM xrays ORDER BY path";
    let (before, manifest) = (fixture.rows(sql).await, fixture.manifest("m").await);
    let fixture = fixture.reopen().await;
    assert_eq!(before.len() as u64, ROWS);
    assert_eq!(before, fixture.rows(sql).await);
    assert_eq!(manifest, fixture.manifest("m").await);
    assert_eq!(manifest.definition.classes, TWO);
    assert_eq!(manifest.definition.positive, Some(0));
    let input = &manifest.definition.preprocessing;
    assert_eq!((input.image_size, input.channels, input.mean, input.std), (32, 1, 0.4, 0.2));
    let threshold = manifest.threshold.unwrap();
    assert!(threshold > 0.0 && threshold < 1.0, "{threshold}");
    // The stored threshold decides the class.
    for row in before {
        let is_normal = row[2].parse::<f64>().unwrap() >= threshold;
        assert_eq!(row[1], if is_normal { "NORMAL" } else { "PNEUMONIA" }, "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mean_and_deviation_of_the_data_are_stored() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let input = fixture.manifest("m").await.definition.preprocessing;
    // 26 of 32 columns have values of 30 to 99, and 6 of 180 to 249.
    let (low, high) = (64.5 / 255.0, 214.5 / 255.0);
    let mean = (26.0 * low + 6.0 * high) / 32.0;
    assert!((input.mean - mean).abs() < 0.01, "{} is not about {mean}", input.mean);
    let between: f64 = (26.0 * (low - mean).powi(2) + 6.0 * (high - mean).powi(2)) / 32.0;
    let within = (70.0_f64 / 255.0).powi(2) / 12.0;
    assert!((input.std - (between + within).sqrt()).abs() < 0.01, "{}", input.std);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_larger_than_the_memory_budget_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let cache =
        |memory, disk| CacheLimits { memory_bytes_max: memory, disk_bytes_max: disk, folder: folder.path().to_owned() };
    let in_memory = Fixture::new().await;
    let on_disk = Fixture::with(TWO, cache(1, 1 << 30)).await;
    for fixture in [&in_memory, &on_disk] {
        fixture.train("m", 2, ", workers = 2", "xrays").await;
    }
    assert!(in_memory.weights("m").await == on_disk.weights("m").await);
    let full = Fixture::with(TWO, cache(1, 1000)).await;
    let message = full.refusal(&create("m", 1, "", "xrays")).await;
    assert_eq!(
        message,
        "reading the images failed: decoded images need 1024 bytes, and the disk cache has 1000; raise \
         TUSK_CACHE_DISK_BYTES, or choose a smaller image_size"
    );
}
