//! Prints rows as a table, CSV or JSON lines on stdout.

use std::io::{IsTerminal, Write, stdout};
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use console::Term;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::csv::WriterBuilder as CsvBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::json::WriterBuilder as JsonBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::table::{Grid, LiveTable};

/// Characters per line if there is no terminal.
const WIDTH: usize = 120;
/// Columns of an epoch that are left out on a narrow terminal, in this order. SHOW TRAINING shows them.
const EXPENDABLE: [&str; 5] = ["model", "workers", "skipped", "learning_rate", "images"];

/// The output format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A readable table; numbers are rounded.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per row.
    Json,
}

/// Prints the batches of one result as they arrive.
pub(crate) struct Printer {
    format: Format,
    schema: SchemaRef,
    /// Whether table rows are printed as they arrive.
    live: bool,
    /// Table rows that are printed at the end.
    waiting: Vec<RecordBatch>,
    live_table: Option<LiveTable>,
    rows: usize,
    header_printed: bool,
}

impl Printer {
    /// A printer. If `live` is set, table rows are printed one by one under one header.
    pub(crate) fn new(format: Format, schema: SchemaRef, live: bool) -> Self {
        Self { format, schema, live, waiting: Vec::new(), live_table: None, rows: 0, header_printed: false }
    }

    /// Adds rows.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        match self.format {
            Format::Table if !self.live => {
                self.waiting.push(batch);
                Ok(())
            }
            Format::Table if batch.num_rows() == 0 => Ok(()),
            Format::Table => self.push_live(&batch),
            Format::Csv => self.print_csv(&batch),
            Format::Json => {
                let mut text = Vec::new();
                let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
                writer.write(&batch)?;
                writer.finish()?;
                drop(writer);
                print(&text)
            }
        }
    }

    /// Prints the remaining rows and returns the number of all rows.
    pub(crate) fn finish(mut self) -> Result<usize> {
        match self.format {
            _ if self.schema.fields().is_empty() => {}
            Format::Table if self.live => {
                if let Some(table) = &self.live_table {
                    print_line(&table.end())?;
                }
            }
            Format::Table => print_line(&Grid::new(&self.schema, &self.waiting)?.render(line_width()))?,
            Format::Csv if !self.header_printed => {
                let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
                self.print_csv(&empty)?;
            }
            Format::Csv | Format::Json => {}
        }
        Ok(self.rows)
    }

    fn push_live(&mut self, batch: &RecordBatch) -> Result<()> {
        let grid = Grid::live(&self.schema, batch)?;
        if self.live_table.is_none() {
            // Only a terminal is narrow. A file gets all columns.
            let width = if stdout().is_terminal() { line_width() } else { usize::MAX };
            let (table, header) = LiveTable::begin(&grid, width, &EXPENDABLE);
            print_line(&header)?;
            self.live_table = Some(table);
        }
        let Some(table) = &self.live_table else { return Ok(()) };
        table.rows(&grid).iter().try_for_each(|row| print_line(row))
    }

    fn print_csv(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut text = Vec::new();
        CsvBuilder::new().with_header(!self.header_printed).build(&mut text).write(&flat(batch)?)?;
        self.header_printed = true;
        print(&text)
    }
}

/// Converts lists, structs and maps to text, because CSV cannot hold them.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let text = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(text.collect::<StringArray>()) as ArrayRef);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Characters per line of the terminal.
fn line_width() -> usize {
    Term::stdout().size_checked().filter(|_| stdout().is_terminal()).map_or(WIDTH, |(_, columns)| usize::from(columns))
}

/// Prints a line on stdout.
pub(crate) fn print_line(line: &str) -> Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// Writes to stdout. A closed pipe stays an [`std::io::Error`], so that `tusk sql ... | head` ends without a message.
fn print(text: &[u8]) -> Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text)?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, StructArray};

    use super::*;

    #[test]
    fn csv_has_structs_as_text_and_numbers_with_all_digits() {
        let inner: ArrayRef = Arc::new(Float64Array::from(vec![0.123_456_789]));
        let nested: ArrayRef =
            Arc::new(StructArray::from(vec![(Arc::new(Field::new("p", DataType::Float64, true)), inner)]));
        let flat = flat(&RecordBatch::try_from_iter([("s", nested)]).unwrap()).unwrap();
        let mut text = Vec::new();
        CsvBuilder::new().build(&mut text).write(&flat).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "s\n{p: 0.123456789}\n");
    }
}
