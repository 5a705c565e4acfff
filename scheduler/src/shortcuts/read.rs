//! Reads the rows of a table and measures their shortcuts.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StructArray};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, cast, lit};
use futures::TryStreamExt;
use tusk_core::Error;
use tusk_core::manifest::Shortcut;
use tusk_core::options::ModelSpec;
use tusk_core::random::content_hash;

use super::measure::measure;
use super::sample::{Image, Row, Sample, Value};
use super::thumbnail::{SIDE, Thumbnail};
use crate::error::Result;
use crate::session::{Rows, Session};

/// The shortcuts of a table.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The shortcuts, the best first.
    pub(crate) shortcuts: Vec<Shortcut>,
    /// Number of images that were measured.
    pub(crate) images: u64,
    /// Number of readable images that were left out, because the table has more than the maximum.
    pub(crate) left_out: u64,
    /// Number of unreadable images.
    pub(crate) skipped: u64,
}

/// Measures the shortcuts of a table.
///
/// # Errors
/// Returns an error if the rows cannot be read, a label is NULL, or all readable images have the same label.
pub(crate) async fn find(session: &Session, rows: &Rows, spec: &ModelSpec) -> Result<Found> {
    let others = other_columns(rows, spec);
    let sample = sample(session, rows, spec, &others).await?;
    let (readable, skipped) = (sample.readable, sample.unreadable);
    let sampled = sample.into_rows();
    let first = sampled.first().map(|row| row.label.as_str());
    if sampled.iter().all(|row| Some(row.label.as_str()) == first) {
        let message = format!(
            "shortcuts tell classes apart, and the {readable} readable images of {} have {} class; {skipped} images are \
             unreadable",
            rows.name,
            if readable == 0 { "no" } else { "one" }
        );
        return Err(Error::Data { message }.into());
    }
    let images = sampled.len() as u64;
    // It takes seconds of processor time.
    let shortcuts = tokio::task::spawn_blocking(move || measure(&sampled, &others)).await;
    let shortcuts = shortcuts.map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(Found { shortcuts, images, left_out: readable - images, skipped })
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

fn is_word(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Dictionary(_, values) => is_word(values),
        _ => false,
    }
}

/// Reads the rows: headers and small copies of the images are computed where the table is read.
async fn sample(session: &Session, rows: &Rows, spec: &ModelSpec, others: &[String]) -> Result<Sample> {
    let state = session.local().state();
    let call = |name: &str, arguments: Vec<Expr>| Ok::<_, DataFusionError>(state.udf(name)?.call(arguments));
    let image = rows.image(spec)?;
    let decoded = call("try_decode_image", vec![image.clone(), lit("grey")])?;
    let side = SIDE as i64;
    let mut columns = vec![
        rows.label(spec)?.alias("label"),
        cast(rows.group(spec)?, DataType::Utf8).alias("group"),
        call("image_info", vec![image.clone()])?.alias("info"),
        call("file_info", vec![image])?.alias("file"),
        call("resize_image", vec![decoded, lit(side), lit(side), lit("box")])?.alias("small"),
    ];
    for (place, name) in others.iter().enumerate() {
        columns.push(rows.column("column", name)?.alias(format!("column {place}")));
    }
    let selected = DataFrame::new(state, rows.plan.clone()).select(columns)?;
    let mut batches = session.data_frame(selected.into_unoptimized_plan()).execute_stream().await?;
    let mut sample = Sample::default();
    while let Some(batch) = batches.try_next().await? {
        take(&mut sample, &batch, &rows.name)?;
    }
    Ok(sample)
}

/// Adds the rows of a batch.
fn take(sample: &mut Sample, batch: &RecordBatch, rows_name: &str) -> Result<()> {
    let text = |array: &ArrayRef| cast_array(array, &DataType::Utf8).map_err(DataFusionError::from);
    let (labels, groups) = (text(batch.column(0))?, text(batch.column(1))?);
    let (labels, groups) = (labels.as_string::<i32>(), groups.as_string::<i32>());
    let [info, file, small] = [2, 3, 4].map(|column| batch.column(column).as_struct());
    let header = |name: &str| numbers(info, name);
    let [widths, heights, channels, depths] =
        [header("width")?, header("height")?, header("channels")?, header("bit_depth")?];
    let [bytes, qualities] = [numbers(file, "bytes")?, numbers(file, "jpeg_quality")?];
    let formats = text(field(info, "format")?)?;
    let samples = field(small, "data")?.as_binary::<i32>();
    let others = (5..batch.num_columns()).map(|column| values(batch.column(column))).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        if labels.is_null(row) {
            let message = format!("{rows_name} has rows whose label is NULL; leave them out with WHERE");
            return Err(Error::Data { message }.into());
        }
        let thumbnail = if small.is_null(row) { None } else { Thumbnail::new(samples.value(row)) };
        let Some(thumbnail) = thumbnail else {
            sample.unreadable += 1;
            continue;
        };
        let number = |values: &Float64Array| values.is_valid(row).then(|| values.value(row));
        let formats = formats.as_string::<i32>();
        let image = Image {
            width: number(&widths),
            height: number(&heights),
            channels: number(&channels),
            bit_depth: number(&depths),
            format: formats.is_valid(row).then(|| formats.value(row).to_owned()),
            bytes: number(&bytes),
            jpeg_quality: number(&qualities),
            thumbnail,
        };
        // A row without a group is a group of its own.
        let group = match groups.is_null(row) {
            true => sample.readable,
            false => content_hash(groups.value(row).as_bytes()),
        };
        let columns = others.iter().map(|values| values.get(row).cloned().flatten()).collect();
        sample.push(Row { label: labels.value(row).to_owned(), group, image, columns });
    }
    Ok(())
}

fn field<'a>(fields: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    let missing = || DataFusionError::Internal(format!("the column {name} is missing"));
    Ok(fields.column_by_name(name).ok_or_else(missing)?)
}

fn numbers(fields: &StructArray, name: &str) -> Result<Float64Array> {
    let cast = cast_array(field(fields, name)?, &DataType::Float64).map_err(DataFusionError::from)?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// Returns the values of another column of the table.
fn values(column: &ArrayRef) -> Result<Vec<Option<Value>>> {
    if is_word(column.data_type()) {
        let words = cast_array(column, &DataType::Utf8).map_err(DataFusionError::from)?;
        return Ok(words.as_string::<i32>().iter().map(|word| word.map(|word| Value::Word(word.to_owned()))).collect());
    }
    let whole = match column.data_type().is_temporal() {
        true => &cast_array(column, &DataType::Int64).map_err(DataFusionError::from)?,
        false => column,
    };
    let numbers = cast_array(whole, &DataType::Float64).map_err(DataFusionError::from)?;
    Ok(numbers.as_primitive::<Float64Type>().iter().map(|number| number.map(Value::Number)).collect())
}
