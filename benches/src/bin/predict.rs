//! Predicts the images of a folder with SQL and measures the time of queries: over the whole folder, over a table of
//! one image, and many of the latter at once. Prints a line of JSON. `benches/peers/predict.py` compares it with
//! PyTorch.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use futures::future::try_join_all;
use tusk::{ContextOptions, TuskContext};

#[derive(Parser)]
#[command(about = "Measures the time to predict a folder of images with SQL")]
struct Args {
    /// Folder with one folder of images per class.
    folder: PathBuf,
    #[arg(long, default_value = "f32")]
    precision: String,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Number of queries over one image each that run at the same time. Default: none.
    #[arg(long, default_value_t = 0)]
    at_once: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let output = tokio::runtime::Runtime::new()?.block_on(run(&args))?;
    writeln!(stdout(), "{output}")?;
    Ok(())
}

async fn run(args: &Args) -> Result<serde_json::Value> {
    let store = tempfile::tempdir()?;
    let options = ContextOptions {
        store: store.path().display().to_string(),
        threads: args.threads,
        ..ContextOptions::default()
    };
    let tusk = TuskContext::embedded_with(options).await?;
    let folder = args.folder.canonicalize().with_context(|| format!("cannot read {}", args.folder.display()))?;
    let location = folder.display().to_string().replace('\'', "''");
    let create = format!("CREATE EXTERNAL TABLE x STORED AS IMAGES LOCATION '{location}/'");
    tusk.sql(&create).await?.collect().await?;
    // The weights do not matter here, so a few images of each class are enough.
    let few =
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY label ORDER BY path) AS n FROM x) WHERE n <= 16";
    let options = format!("epochs = 1, validation_fraction = 0, precision = '{}'", args.precision);
    let train = format!("CREATE MODEL m USING cnn_reference OPTIONS ({options}) TRAIN ON ({few})");
    tusk.sql(&train).await?.collect().await?;

    let all = "SELECT count(predict('m', image)) AS images FROM x";
    let (mut seconds, mut images) = (Vec::new(), 0);
    for _ in 0..args.rounds {
        let (took, rows) = timed(&tusk, all).await?;
        seconds.push(took);
        images = rows;
    }
    let one = "SELECT predict('m', image) FROM one";
    tusk.sql("CREATE TABLE one AS SELECT image FROM x LIMIT 1").await?.collect().await?;
    let mut alone = Vec::new();
    let mut at_once = Vec::new();
    if args.at_once > 0 {
        for _ in 0..10 {
            alone.push(timed(&tusk, one).await?.0);
        }
        let queries = (0..args.at_once).map(|_| timed(&tusk, one));
        at_once = try_join_all(queries).await?.into_iter().map(|(took, _)| took).collect();
    }
    Ok(serde_json::json!({ "images": images, "seconds": seconds, "alone": alone, "at_once": at_once }))
}

/// The seconds of a query, and the number in its first row, if any.
async fn timed(tusk: &TuskContext, sql: &str) -> Result<(f64, i64)> {
    let started = Instant::now();
    let batches = tusk.sql(sql).await?.collect().await?;
    let took = started.elapsed().as_secs_f64();
    let first = batches.iter().find(|batch| batch.num_rows() > 0).context("the query returned no rows")?;
    let number = first.column(0).as_any().downcast_ref::<datafusion::arrow::array::Int64Array>();
    Ok((took, number.map_or(0, |numbers| numbers.value(0))))
}
