//! Reads the rows of a table, and measures their shortcuts or returns their nuisances.

use std::time::Instant;

use datafusion::arrow::datatypes::DataType;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, cast, lit};
use futures::TryStreamExt;
use tusk_core::Error;
use tusk_core::manifest::Shortcut;
use tusk_core::nuisances::Nuisances;
use tusk_core::options::ModelSpec;

use super::batch::{is_word, take};
use super::measure::measure;
use super::nuisances::nuisances_of;
use super::sample::{Row, Sample};
use super::thumbnail::SIDE;
use crate::blocking::on_a_thread;
use crate::error::Result;
use crate::session::{Rows, Session};

/// The shortcuts of a table.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The shortcuts, the best first.
    pub shortcuts: Vec<Shortcut>,
    /// The nuisances of the validation rows among the images, as many as a run takes. All rows are validation rows in
    /// cross-validation.
    pub validation: Nuisances,
    /// Number of images that were measured.
    pub images: u64,
    /// Number of readable images that were left out, because the table has more than the maximum.
    pub left_out: u64,
    /// Number of unreadable images.
    pub skipped: u64,
}

/// Measures the shortcuts of a table.
///
/// # Errors
/// Returns an error if the rows cannot be read, a label is NULL, or all readable images have the same label.
pub(crate) async fn find(session: &Session, rows: &Rows, spec: &ModelSpec) -> Result<Found> {
    let query = Query::new(&session.local().state(), rows, spec)?;
    let sample = query.sample(session.data_frame(query.plan.clone()), None).await?;
    query.found(sample, spec).await
}

/// Returns the nuisances of a table. Of a large table, they are those of the images that [`find`] measures.
///
/// # Errors
/// Returns an error if the rows cannot be read, or a label is NULL.
pub(crate) async fn nuisances(session: &Session, rows: &Rows, spec: &ModelSpec) -> Result<Nuisances> {
    let query = Query::new(&session.local().state(), rows, spec)?;
    let sample = query.sample(session.data_frame(query.plan.clone()), None).await?;
    let others = query.others;
    on_a_thread(move || nuisances_of(&sample.into_rows(), &others)).await
}

/// The query that reads what is measured: headers and small copies of the images are computed where the table is read.
pub(super) struct Query {
    pub(super) plan: LogicalPlan,
    /// The other columns of the table.
    others: Vec<String>,
    /// The name of the rows in errors.
    name: String,
}

impl Query {
    pub(super) fn new(state: &SessionState, rows: &Rows, spec: &ModelSpec) -> Result<Self> {
        let others = other_columns(rows, spec);
        let call = |name: &str, arguments: Vec<Expr>| Ok::<_, DataFusionError>(state.udf(name)?.call(arguments));
        let image = rows.image(spec)?;
        let decoded = call("try_decode_image", vec![image.clone(), lit("grey")])?;
        let side = SIDE as i64;
        let mut columns = vec![
            rows.label(spec)?.alias("label"),
            cast(rows.group(spec)?, DataType::Utf8).alias("group"),
            call("content_hash", vec![image.clone()])?.alias("content"),
            call("image_info", vec![image.clone()])?.alias("info"),
            call("file_info", vec![image.clone()])?.alias("file"),
            call("image_tags", vec![image])?.alias("tags"),
            call("resize_image", vec![decoded, lit(side), lit(side), lit("box")])?.alias("small"),
        ];
        for (place, name) in others.iter().enumerate() {
            columns.push(rows.column("column", name)?.alias(format!("column {place}")));
        }
        let selected = DataFrame::new(state.clone(), rows.plan.clone()).select(columns)?;
        Ok(Self { plan: selected.into_unoptimized_plan(), others, name: rows.name.clone() })
    }

    /// Runs the query, until the end of its rows or until this time.
    pub(super) async fn sample(&self, frame: DataFrame, until: Option<Instant>) -> Result<Sample> {
        let mut batches = frame.execute_stream().await?;
        let mut sample = Sample::default();
        while let Some(batch) = batches.try_next().await? {
            take(&mut sample, &batch, &self.name)?;
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        Ok(sample)
    }

    /// Measures the shortcuts of a sample.
    pub(super) async fn found(self, sample: Sample, spec: &ModelSpec) -> Result<Found> {
        let (readable, skipped) = (sample.readable, sample.unreadable);
        let rows = sample.into_rows();
        let first = rows.first().map(|row| row.label.as_str());
        if rows.iter().all(|row| Some(row.label.as_str()) == first) {
            let message = format!(
                "shortcuts tell classes apart, and the {readable} readable images of {} have {} class; {skipped} images \
                 are unreadable",
                self.name,
                if readable == 0 { "no" } else { "one" }
            );
            return Err(Error::Data { message }.into());
        }
        let images = rows.len() as u64;
        let (others, spec) = (self.others, spec.clone());
        // It takes seconds of processor time.
        let (shortcuts, validation) = on_a_thread(move || {
            let nuisances = nuisances_of(&rows, &others);
            (measure(&rows, &nuisances), nuisances.of_run(validation_rows(&rows, &spec)))
        })
        .await?;
        Ok(Found { shortcuts, validation, images, left_out: readable - images, skipped })
    }
}

/// Returns the places of the rows that a run with these options validates.
fn validation_rows(rows: &[Row], spec: &ModelSpec) -> Vec<usize> {
    let is_validated = |row: &Row| spec.split.folds.is_some() || spec.is_held_out(row.group);
    rows.iter().enumerate().filter(|(_, row)| is_validated(row)).map(|(place, _)| place).collect()
}

/// Returns the columns that are neither image nor label nor group, and whose values are numbers, words, times or booleans. An
/// interval of months, days and nanoseconds is not a number.
fn other_columns(rows: &Rows, spec: &ModelSpec) -> Vec<String> {
    let is_used = |name: &str| {
        let used = [Some(&spec.data.image), Some(&spec.data.label), spec.data.group.as_ref()];
        used.into_iter().flatten().any(|used| used.eq_ignore_ascii_case(name))
    };
    let fields = rows.plan.schema().fields().iter();
    let others =
        fields.filter(|field| !is_used(field.name()) && (is_number(field.data_type()) || is_word(field.data_type())));
    others.map(|field| field.name().clone()).collect()
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() && !matches!(data_type, DataType::Interval(_))
}
