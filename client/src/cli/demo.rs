//! `tusk demo`: a complete example on synthetic X-rays, from a folder of images to predictions.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::record_batch::RecordBatch;
use regex::Regex;
use tusk::ingest::IngestOptions;
use tusk::synthetic::{NORMAL, PNEUMONIA, SyntheticOptions, write_tree};

use super::connection::Connection;
use super::format::{Format, Printer, print_line};
use super::ingest::ingest_with_bar;
use super::progress::Counter;
use super::{ClusterArguments, PathArgument, RemoteArguments};

/// The demo fails if the ROC AUC on the test patients is below this.
const ROC_AUC_MIN: f64 = 0.9;
/// Matches the patient in `person0123_2.jpeg`.
pub(crate) const GROUP_REGEX: &str = r"person\d+";

/// Arguments of `tusk demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Folder for images, tables and the model store. Output of an earlier demo is replaced.
    #[arg(long, default_value = "demo")]
    dir: PathArgument,
    /// Number of training patients, with four images each. The test set has a fifth as many more.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    patients: u32,
    /// Number of training epochs.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// Number of threads. Default: all processors.
    #[arg(long, env = "TUSK_THREADS")]
    threads: Option<usize>,
}

/// Runs the demo. It fails when the ROC AUC on the test patients is too low.
pub(crate) async fn run(arguments: DemoArguments) -> Result<()> {
    ensure!(cfg!(feature = "embedded"), "{}", super::NO_EMBEDDED_CLUSTER);
    let start = Instant::now();
    let dir = arguments.dir;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    say(INTRODUCTION)?;
    let training = SyntheticOptions { patients: arguments.patients as usize, ..SyntheticOptions::default() };
    // Another seed gives other patients, so no patient is in both sets.
    let test = SyntheticOptions { patients: training.patients / 5, seed: training.seed + 1, ..training.clone() };
    for (options, name, purpose) in [(training, "synthetic", "for training"), (test, "synthetic_test", "for testing")] {
        let (dir, name) = (dir.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || prepare(&dir, &name, purpose, &options)).await??;
    }
    let cluster = ClusterArguments {
        store: dir.join("store").display().to_string(),
        remote: RemoteArguments::default(),
        threads: arguments.threads,
    };
    let connection = Connection::open(&cluster).await?;
    let roc_auc = tour(&connection, &dir, arguments.epochs).await?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        roc_auc >= ROC_AUC_MIN,
        "the ROC AUC on the test patients is {roc_auc:.4}, but should be at least {ROC_AUC_MIN}; \
         use more patients or epochs (--patients, --epochs)"
    );
    say(&format!("\nDone in {seconds:.0} s: ROC AUC {roc_auc:.4} on patients that the model has never seen."))?;
    say(&NEXT_STEPS.replace("TUSK", &program()).replace("DIR", &dir.display().to_string()))
}

const INTRODUCTION: &str = "\
Tusk trains image classifiers with SQL. This is a complete example on synthetic chest X-rays: healthy lungs (NORMAL)
and lungs with white patches (PNEUMONIA). It takes a few minutes.";

const NEXT_STEPS: &str = "\
Next steps:
  start a shell with this model (\\? shows help):
    TUSK sql --store DIR/store
  use your own X-rays, with one folder per class:
    TUSK ingest MY_XRAYS --out my.parquet
    TUSK sql -c \"CREATE EXTERNAL TABLE my STORED AS PARQUET LOCATION 'my.parquet';
                 CREATE MODEL mine USING cnn TRAIN ON my\"";

/// The name or path by which this program was started.
fn program() -> String {
    let name = std::env::args().next().unwrap_or_default();
    if name.is_empty() { "tusk".to_owned() } else { name }
}

/// Writes synthetic X-rays and ingests them.
fn prepare(dir: &Path, name: &str, purpose: &str, options: &SyntheticOptions) -> Result<()> {
    let (tree, file) = (dir.join(name), dir.join(format!("{name}.parquet")));
    let images = options.patients * options.images_per_patient;
    heading(&format!("{images} images of {} patients {purpose}, in {}/", options.patients, tree.display()))?;
    remove_images(&tree)?;
    let mut counter = Counter::new("drawing");
    write_tree(&tree, options, &mut |done, total| counter.update(done, total))?;
    drop(counter);
    command(&format!("tusk ingest {} --out {} --group-regex '{GROUP_REGEX}'", tree.display(), file.display()))?;
    let mut ingest = IngestOptions::new([tree], file);
    ingest.group_regex = Some(Regex::new(GROUP_REGEX)?);
    say(ingest_with_bar(&ingest)?.to_string().trim_end())
}

/// Removes the images of an earlier demo, and nothing else.
fn remove_images(tree: &Path) -> Result<()> {
    let ours = Regex::new(r"^person\d+_\d+\.jpeg$")?;
    for label in [NORMAL, PNEUMONIA] {
        let folder = tree.join(label);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path: PathBuf = entry?.path();
            if path.file_name().is_some_and(|name| ours.is_match(&name.to_string_lossy())) {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Runs the statements of the demo. Returns the ROC AUC on the test patients.
async fn tour(connection: &Connection, dir: &Path, epochs: u32) -> Result<f64> {
    let parquet = |name: &str| dir.join(name).display().to_string().replace('\'', "''");
    heading("A table is a Parquet file, or a folder of them")?;
    for (table, file) in [("xrays", "synthetic.parquet"), ("xrays_test", "synthetic_test.parquet")] {
        let location = parquet(file);
        show(connection, &format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{location}'")).await?;
    }
    heading("The rows of the table")?;
    show(
        connection,
        "SELECT label, count(*) AS images, count(DISTINCT \"group\") AS patients\n\
         FROM xrays GROUP BY label ORDER BY label",
    )
    .await?;
    heading("One statement trains a model. \"group\" keeps each patient on one side of the validation split")?;
    show(
        connection,
        &format!(
            "CREATE OR REPLACE MODEL demo USING cnn\nOPTIONS (epochs = {epochs}, \"group\" = 'group') TRAIN ON xrays"
        ),
    )
    .await?;
    heading("The training record and its times (selected columns)")?;
    let columns = ["status", "epoch", "best_epoch", "images_per_second", "decode_seconds", "train_seconds"];
    show_columns(connection, "SHOW TRAINING demo", &columns).await?;
    heading("The metrics on patients that the model has not seen, with 95 % intervals (selected columns)")?;
    let columns = ["rows", "threshold", "accuracy", "recall", "specificity", "roc_auc", "roc_auc_low", "roc_auc_high"];
    let evaluation = show_columns(connection, "EVALUATE MODEL demo ON xrays_test", &columns).await?;
    heading("Any query can call the prediction functions")?;
    show(
        connection,
        "SELECT path, label, predict('demo', image) AS predicted,\n       \
         predict_proba('demo', image, 'PNEUMONIA') AS probability\nFROM xrays_test LIMIT 8",
    )
    .await?;
    heading("The confusion matrix")?;
    show(
        connection,
        "SELECT unnest(cell) FROM (\n  SELECT unnest(confusion_matrix(label, predict('demo', image))) AS cell \
         FROM xrays_test)",
    )
    .await?;
    roc_auc_of(&evaluation)
}

fn roc_auc_of(evaluation: &[RecordBatch]) -> Result<f64> {
    let column = evaluation.first().and_then(|batch| batch.column_by_name("roc_auc"));
    match column.and_then(|column| column.as_primitive_opt::<Float64Type>()) {
        Some(values) if values.iter().flatten().next().is_some() => Ok(values.value(0)),
        _ => bail!("EVALUATE returned no ROC AUC"),
    }
}

/// Prints a statement, runs it, and prints its rows.
async fn show(connection: &Connection, sql: &str) -> Result<()> {
    command(&format!("{sql};"))?;
    connection.run(sql, Format::Table).await.with_context(|| format!("this statement failed: {sql}"))?;
    Ok(())
}

/// Prints a statement, runs it, and prints some of its columns. Returns all of its rows.
async fn show_columns(connection: &Connection, sql: &str, columns: &[&str]) -> Result<Vec<RecordBatch>> {
    command(&format!("{sql};"))?;
    let batches = connection.context.sql(sql).await?.collect().await?;
    for batch in &batches {
        let schema = batch.schema();
        let chosen = columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let batch = batch.project(&chosen)?;
        let mut printer = Printer::new(Format::Table, batch.schema(), false);
        printer.push(batch)?;
        printer.finish()?;
    }
    Ok(batches)
}

fn heading(text: &str) -> Result<()> {
    print_line(&format!("\n-- {text}"))
}

fn command(text: &str) -> Result<()> {
    print_line(text)
}

fn say(text: &str) -> Result<()> {
    print_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_demo_removes_only_the_images_of_the_first() {
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join(NORMAL);
        std::fs::create_dir(&folder).unwrap();
        for name in ["person0001_1.jpeg", "person12345_10.jpeg", "person0001_1.jpeg.txt", "mine.jpeg"] {
            std::fs::write(folder.join(name), b"x").unwrap();
        }
        remove_images(tree.path()).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["mine.jpeg", "person0001_1.jpeg.txt"]);
    }

    #[test]
    fn the_group_regex_matches_the_names_of_synthetic_xrays() {
        let xray = tusk::synthetic::draw(&SyntheticOptions { size: 32, ..SyntheticOptions::default() }, 7, 1).unwrap();
        let found = Regex::new(GROUP_REGEX).unwrap().find(&xray.path).unwrap();
        assert_eq!(found.as_str(), xray.group);
    }
}
