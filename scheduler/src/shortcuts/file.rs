//! The shortcuts of a Parquet file of `tusk ingest`, measured in this process and in bounded time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::dataframe::DataFrame;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use tusk_core::Error;
use tusk_core::engine::Predictor;
use tusk_core::options::{Architecture, ModelSpec};
use tusk_core::store::table_runtime;
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{session_builder, session_config};

use super::read::{Found, Query};
use crate::error::Result;
use crate::session::Rows;

/// Number of images that are measured: the first of the file, whose rows are shuffled.
const ROWS_MAX: usize = 2000;

/// The time after which no more images are read.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Rows per batch. The time is checked after each.
const BATCH_ROWS: usize = 32;

/// Measures the shortcuts of a file with the columns `image`, `label` and `group`: of its first 2,000 images, or of those that
/// are read in 20 seconds.
///
/// # Errors
/// Returns an error if the file cannot be read, or if all readable images have the same label.
pub async fn shortcuts_of_file(file: &Path, threads: usize) -> Result<Found> {
    let Some(name) = file.to_str() else {
        let message = format!("{} is not a name in UTF-8; rename the file", file.display());
        return Err(Error::Data { message }.into());
    };
    let until = Instant::now() + TIME_MAX;
    let mut config = session_config().with_target_partitions(threads.max(1)).with_batch_size(BATCH_ROWS);
    // The file is read from its start by one reader, so that the same images are measured each time.
    config.options_mut().optimizer.repartition_file_scans = false;
    let predictor: Arc<dyn Predictor> = Arc::new(PlanOnly);
    let runtime = table_runtime().build_arc()?;
    let context = SessionContext::new_with_state(session_builder(config, runtime, &predictor).build());
    // The file may have any name.
    let options = ParquetReadOptions::default().file_extension("");
    let first = context.read_parquet(name, options).await?.limit(0, Some(ROWS_MAX))?;
    let rows = Rows { plan: first.into_unoptimized_plan(), name: name.to_owned() };
    let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.data.group = Some("group".to_owned()));
    let query = Query::new(&context.state(), &rows, &spec)?;
    let sample = query.sample(DataFrame::new(context.state(), query.plan.clone()), Some(until)).await?;
    query.found(sample, &spec).await
}
