//! Builds the rows that statements return.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::temporal_conversions::timestamp_ms_to_datetime;
use datafusion::error::DataFusionError;
use tusk_core::metrics::ClassPrior;

use crate::error::Result;

/// Returns rows with these columns. Every column is nullable, so the schema does not depend on the rows.
pub(super) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(DataFusionError::from)?)
}

/// Returns one row with one column of text.
pub(super) fn text(column: &str, text: &str) -> Result<RecordBatch> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Ok(RecordBatch::try_from_iter([(column, array)]).map_err(DataFusionError::from)?)
}

/// Returns one row with a status message.
pub(super) fn status(message: &str) -> Result<RecordBatch> {
    text("status", message)
}

/// Returns the date of a time in milliseconds since 1970, in UTC.
pub(super) fn date(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(timestamp_ms_to_datetime);
    time.map_or_else(|| "an unknown date".to_owned(), |time| time.date().to_string())
}

/// Returns the class frequencies of a site as text, such as `NORMAL: 0.2500, PNEUMONIA: 0.7500`.
pub(super) fn class_frequencies(classes: &[String], prior: &ClassPrior) -> String {
    let of = |(class, frequency): (&String, &f64)| format!("{class}: {frequency:.4}");
    classes.iter().zip(&prior.site).map(of).collect::<Vec<_>>().join(", ")
}

/// Returns the columns of rows.
pub(super) fn schema_of(rows: Result<RecordBatch>) -> SchemaRef {
    rows.map_or_else(|_| Arc::new(Schema::empty()), |rows| rows.schema())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_date_is_unknown() {
        assert_eq!(date(u64::MAX), "an unknown date");
        assert_eq!(date(0), "1970-01-01");
    }
}
