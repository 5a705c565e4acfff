//! Rows as a table, CSV or JSON lines.

use std::io::{Write, stdout};

use anyhow::Result;
use clap::ValueEnum;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per row.
    Json,
}

/// Prints the batches of one result as they come.
pub(crate) struct Printer {
    format: Format,
    schema: SchemaRef,
    /// Table rows that wait for the end, unless rows are printed live.
    waiting: Vec<RecordBatch>,
    live: bool,
    printed: usize,
}

impl Printer {
    /// A printer; `live` prints a table row by row, each under the one header.
    pub(crate) fn new(format: Format, schema: SchemaRef, live: bool) -> Self {
        Self { format, schema, waiting: Vec::new(), live, printed: 0 }
    }

    /// Takes the next rows.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        match self.format {
            Format::Table if !self.live => self.waiting.push(batch),
            Format::Table => {
                let text = table(std::slice::from_ref(&batch))?;
                // The header once; the rows of later batches without theirs.
                let lines: Vec<&str> = text.lines().collect();
                let skip = if self.printed == 0 { 0 } else { 3 };
                let body = &lines[skip..lines.len().saturating_sub(1)];
                writeln!(stdout(), "{}", body.join("\n"))?;
                self.printed += batch.num_rows();
            }
            Format::Csv => {
                let mut writer = WriterBuilder::new().with_header(self.printed == 0).build(stdout());
                writer.write(&batch)?;
                self.printed += batch.num_rows();
            }
            Format::Json => {
                let mut writer = LineDelimitedWriter::new(stdout());
                writer.write(&batch)?;
                writer.finish()?;
            }
        }
        Ok(())
    }

    /// Prints what still waits.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.format == Format::Table && !self.live && !self.schema.fields().is_empty() {
            if self.waiting.is_empty() {
                self.waiting.push(RecordBatch::new_empty(self.schema.clone()));
            }
            writeln!(stdout(), "{}", table(&self.waiting)?)?;
        }
        Ok(())
    }
}

fn table(batches: &[RecordBatch]) -> Result<String> {
    let options = FormatOptions::default().with_display_error(true);
    Ok(pretty_format_batches_with_options(batches, &options)?.to_string())
}
