//! Converts batches of the query to rows of a sample.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, StringArray, StructArray, UInt64Array,
};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DataType, Float64Type, UInt64Type};
use datafusion::error::DataFusionError;
use tusk_core::Error;
use tusk_core::nuisances::Value;
use tusk_core::random::content_hash;

use super::sample::{Image, Row, Sample};
use super::thumbnail::Thumbnail;
use crate::error::Result;

/// Maximum length of a word, in characters. The rest is cut off.
const WORD_CHARS_MAX: usize = 64;

/// Adds the rows of a batch. `rows_name` is the name of the rows in errors.
pub(super) fn take(sample: &mut Sample, batch: &RecordBatch, rows_name: &str) -> Result<()> {
    let columns = Columns::of(batch)?;
    for row in 0..batch.num_rows() {
        if columns.labels.is_null(row) {
            let message = format!("{rows_name} has rows whose label is NULL; leave them out with WHERE");
            return Err(Error::Data { message }.into());
        }
        match columns.row(row) {
            Some(row) => sample.push(row),
            None => sample.unreadable += 1,
        }
    }
    Ok(())
}

/// Returns whether the values of a column are words.
pub(super) fn is_word(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Dictionary(_, values) => is_word(values),
        _ => false,
    }
}

/// The columns of a batch.
struct Columns {
    labels: StringArray,
    groups: StringArray,
    contents: UInt64Array,
    /// Width, height, channels and bit depth.
    header: [Float64Array; 4],
    /// Bytes and JPEG quality.
    file: [Float64Array; 2],
    dots_per_inch: Float64Array,
    /// Format, orientation, make, model and software.
    words: [StringArray; 5],
    /// Samples of the thumbnails.
    samples: BinaryArray,
    others: Vec<Vec<Option<Value>>>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let [info, file, tags, small] = [3, 4, 5, 6].map(|column| batch.column(column).as_struct());
        let header = |name: &str| numbers(field(info, name)?);
        let tag = |name: &str| text(field(tags, name)?);
        Ok(Self {
            labels: text(batch.column(0))?,
            groups: text(batch.column(1))?,
            contents: batch.column(2).as_primitive::<UInt64Type>().clone(),
            header: [header("width")?, header("height")?, header("channels")?, header("bit_depth")?],
            file: [numbers(field(file, "bytes")?)?, numbers(field(file, "jpeg_quality")?)?],
            dots_per_inch: numbers(field(tags, "dots_per_inch")?)?,
            words: [text(field(info, "format")?)?, tag("orientation")?, tag("make")?, tag("model")?, tag("software")?],
            samples: samples(small)?,
            others: (7..batch.num_columns()).map(|column| values(batch.column(column))).collect::<Result<Vec<_>>>()?,
        })
    }

    /// Returns a row. `None` if its image is unreadable.
    fn row(&self, row: usize) -> Option<Row> {
        let number = |values: &Float64Array| values.is_valid(row).then(|| values.value(row));
        let word = |values: &StringArray| values.is_valid(row).then(|| values.value(row).to_owned());
        let samples = self.samples.is_valid(row).then(|| self.samples.value(row))?;
        let thumbnail = Thumbnail::new(samples)?;
        let [width, height, channels, bit_depth] = self.header.each_ref().map(number);
        let [bytes, jpeg_quality] = self.file.each_ref().map(number);
        let [format, orientation, make, model, software] = self.words.each_ref().map(word);
        let dots_per_inch = number(&self.dots_per_inch);
        let image = Image {
            width,
            height,
            channels,
            bit_depth,
            format,
            bytes,
            jpeg_quality,
            orientation,
            make,
            model,
            software,
            dots_per_inch,
            thumbnail,
        };
        let content = self.contents.value(row);
        let group = word(&self.groups).map_or(content, |group| content_hash(group.as_bytes()));
        let columns = self.others.iter().map(|values| values.get(row).cloned().flatten()).collect();
        Some(Row { label: self.labels.value(row).to_owned(), content, group, image, columns })
    }
}

fn field<'a>(fields: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    let missing = || DataFusionError::Internal(format!("the column {name} is missing"));
    Ok(fields.column_by_name(name).ok_or_else(missing)?)
}

fn text(column: &ArrayRef) -> Result<StringArray> {
    let cast = cast_array(column, &DataType::Utf8).map_err(DataFusionError::from)?;
    Ok(cast.as_string::<i32>().clone())
}

fn numbers(column: &ArrayRef) -> Result<Float64Array> {
    let cast = cast_array(column, &DataType::Float64).map_err(DataFusionError::from)?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// Returns the samples of image structs. NULL for a struct that is NULL, whatever its fields are.
fn samples(structs: &StructArray) -> Result<BinaryArray> {
    let data = field(structs, "data")?.as_binary::<i32>();
    let valid = |row: usize| (structs.is_valid(row) && data.is_valid(row)).then(|| data.value(row));
    Ok((0..structs.len()).map(valid).collect())
}

/// Returns the values of another column of the table.
fn values(column: &ArrayRef) -> Result<Vec<Option<Value>>> {
    if is_word(column.data_type()) {
        let word = |word: &str| Value::Word(word.chars().take(WORD_CHARS_MAX).collect());
        return Ok(text(column)?.iter().map(|value| value.map(word)).collect());
    }
    let whole = match column.data_type().is_temporal() {
        true => &cast_array(column, &DataType::Int64).map_err(DataFusionError::from)?,
        false => column,
    };
    Ok(numbers(whole)?.iter().map(|number| number.map(Value::Number)).collect())
}
