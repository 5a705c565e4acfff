//! The sources that TRAIN ON accepts.

use std::fmt::Write;

use crate::fixture::{Fixture, create};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_the_same_from_a_table_a_view_a_query_and_a_folder() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE made AS SELECT * FROM xrays").await;
    fixture.run("CREATE VIEW seen AS SELECT image, label, \"group\" FROM xrays WHERE width = 32").await;
    fixture.run("CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{dir}/pictures'").await;
    fixture.run("CREATE TABLE groups AS SELECT path AS file, \"group\" FROM xrays").await;
    fixture.train("whole", 1, "", "xrays").await;
    let expected = fixture.weights("whole").await;
    for (name, on) in [
        ("made", "made"),
        ("seen", "seen"),
        ("asked", "(SELECT image, upper(label) AS label, \"group\" FROM xrays WHERE label IN ('NORMAL', 'PNEUMONIA'))"),
        ("joined", "(SELECT p.image, p.label, g.\"group\" FROM pictures p JOIN groups g ON p.path = g.file)"),
        ("both_paths", "(SELECT a.*, b.path, b.width FROM xrays a JOIN made b ON a.path = b.path)"),
        ("cut", "(SELECT * FROM pictures JOIN groups ON path = file ORDER BY path LIMIT 1000)"),
        ("united", "(SELECT * FROM xrays WHERE label = 'NORMAL' UNION ALL SELECT * FROM made WHERE label <> 'NORMAL')"),
    ] {
        fixture.train(name, 1, "", on).await;
        assert!(fixture.weights(name).await == expected, "{name} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_trained_on_values() {
    let fixture = Fixture::new().await;
    let mut values = String::new();
    for (label, first) in [("NORMAL", 0), ("PNEUMONIA", 6)] {
        for index in 0..8 {
            let name = format!("pictures/{label}/person{:03}_{}.", first + index / 4, index % 4);
            let ending = if index % 2 == 0 { "png" } else { "jpeg" };
            let bytes = std::fs::read(fixture.path(&format!("{name}{ending}"))).unwrap();
            let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            let comma = if values.is_empty() { "" } else { ", " };
            write!(values, "{comma}(X'{hex}', '{label}')").unwrap();
        }
    }
    let options = "image_size = 32, epochs = 1, batch_size = 4, precision = 'f32', validation_fraction = 0";
    let on = format!("(SELECT * FROM (VALUES {values}) AS t(image, label))");
    let epochs = fixture.rows(&format!("CREATE MODEL named OPTIONS ({options}) TRAIN ON {on}")).await;
    assert_eq!(epochs[0][7], "16");
    let bare = format!("(VALUES {values})");
    let columns = "image = 'column1', label = 'column2'";
    fixture.run(&format!("CREATE MODEL bare OPTIONS ({options}, {columns}) TRAIN ON {bare}")).await;
    assert!(fixture.weights("named").await == fixture.weights("bare").await);
    // The same rows in a table that INSERT filled.
    fixture.run("CREATE TABLE filled (image BYTEA, label VARCHAR)").await;
    fixture.run(&format!("INSERT INTO filled VALUES {values}")).await;
    fixture.run(&format!("CREATE MODEL filled OPTIONS ({options}) TRAIN ON filled")).await;
    assert!(fixture.weights("named").await == fixture.weights("filled").await);
    assert_eq!(fixture.rows(&format!("EVALUATE MODEL named ON {on}")).await[0][1], "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_between_two_models_is_read_again() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE growing AS SELECT * FROM xrays WHERE \"group\" <> 'person000'").await;
    fixture.train("before", 1, "", "growing").await;
    fixture.run("INSERT INTO growing SELECT * FROM xrays WHERE \"group\" = 'person000'").await;
    fixture.train("after", 1, "", "growing").await;
    fixture.train("whole", 1, "", "xrays").await;
    assert!(fixture.weights("after").await == fixture.weights("whole").await);
    assert!(fixture.weights("after").await != fixture.weights("before").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_rewritten_in_place_is_read_again() {
    let fixture = Fixture::new().await;
    fixture.run("COPY (SELECT * FROM xrays) TO '{dir}/copy.parquet'").await;
    fixture.run("CREATE EXTERNAL TABLE copy STORED AS PARQUET LOCATION '{dir}/copy.parquet'").await;
    fixture.train("before", 1, "", "copy").await;
    std::fs::remove_file(fixture.path("copy.parquet")).unwrap();
    fixture.run("COPY (SELECT * FROM xrays WHERE \"group\" <> 'person000') TO '{dir}/copy.parquet'").await;
    let epochs = fixture.train("after", 1, "", "copy").await;
    let data = fixture.manifest("after").await.data;
    let rows: u64 = data.train_rows.values().chain(data.val_rows.values()).sum();
    assert_eq!(rows, 44, "the shard of the old file was used: {epochs:?}");
    // Column names match in any case.
    let upper = create("upper", 1, ", image = 'IMAGE', label = 'Label'", "copy");
    fixture.run(&upper).await;
}
