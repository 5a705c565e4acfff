//! Combines Tusk's SQL with DataFusion's own API: a DataFusion query prepares the rows, Tusk trains a model on them,
//! and a query joins its predictions with another table.
//!
//! `cargo run --example sql_beside_datafusion`
#![expect(clippy::print_stdout, reason = "an example prints")]

use tusk::synthetic::{SyntheticOptions, write_tree};
use tusk::{ContextOptions, TuskContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let images_dir = folder.path().join("xrays");
    write_tree(&images_dir, &SyntheticOptions { patients: 200, ..SyntheticOptions::default() }, &mut |_, _| {})?;

    let store = folder.path().join("store").display().to_string();
    let tusk = TuskContext::embedded_with(ContextOptions { store, ..ContextOptions::from_env()? }).await?;
    for statement in [
        format!("CREATE EXTERNAL TABLE xrays STORED AS IMAGES LOCATION '{}/'", images_dir.display()),
        "CREATE VIEW patients AS SELECT *, split_part(split_part(path, '/', 2), '_', 1) AS patient FROM xrays".into(),
        "CREATE TABLE wards AS SELECT patient, CASE WHEN random() < 0.5 THEN 'A' ELSE 'B' END AS ward \
         FROM (SELECT DISTINCT patient FROM patients)"
            .into(),
        "CREATE MODEL pneumonia OPTIONS (\"group\" = 'patient', epochs = 6) TRAIN ON patients".into(),
    ] {
        let results = tusk.sql(&statement).await?;
        let has_columns = !results.schema().fields().is_empty();
        let table = results.to_table().await?;
        if has_columns {
            println!("{table}");
        }
    }

    // A DataFusion DataFrame, on the same cluster and with the same functions.
    let by_ward = tusk
        .query(
            "SELECT ward, count(*) AS images, accuracy(label, predict('pneumonia', image)) AS accuracy \
             FROM patients JOIN wards USING (patient) GROUP BY ward ORDER BY ward",
        )
        .await?;
    by_ward.show().await?;
    Ok(())
}
