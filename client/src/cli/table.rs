//! Formats rows as tables for people. A few wide rows are transposed.

use anyhow::Result;
use console::measure_text_width;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cells::{DECIMALS, align_decimals, cells_of, printable};

/// The smallest width of the values in a transposed table.
const VALUE_WIDTH_MIN: usize = 20;
/// The largest number of rows that are transposed.
const TRANSPOSED_ROWS_MAX: usize = 3;
/// The width of a column of numbers in a live table, enough for `0.0009755`.
const LIVE_WIDTH: usize = 9;

/// The cells of a table, with their header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    header: Vec<String>,
    /// Which columns hold numbers.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// Formats batches of one schema.
    pub(crate) fn new(schema: &Schema, batches: &[RecordBatch]) -> Result<Self> {
        Self::with_decimals(schema, batches, 0)
    }

    /// Formats rows that are printed before the following rows are known.
    pub(crate) fn live(schema: &Schema, batch: &RecordBatch) -> Result<Self> {
        Self::with_decimals(schema, std::slice::from_ref(batch), DECIMALS)
    }

    fn with_decimals(schema: &Schema, batches: &[RecordBatch], decimals_min: usize) -> Result<Self> {
        let header = schema.fields().iter().map(|field| printable(field.name())).collect();
        let right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let mut rows = vec![Vec::with_capacity(schema.fields().len()); rows];
        for column in 0..schema.fields().len() {
            let mut cells = Vec::with_capacity(rows.len());
            for batch in batches {
                cells.extend(cells_of(batch.column(column))?);
            }
            if schema.field(column).data_type().is_floating() {
                align_decimals(&mut cells, decimals_min);
            }
            rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
        Ok(Self { header, right, rows })
    }

    /// Formats the table. If it is wider than `width` characters and has few rows, it is transposed.
    pub(crate) fn render(&self, width: usize) -> String {
        let upright = self.widths();
        if self.rows.len() <= TRANSPOSED_ROWS_MAX && !self.rows.is_empty() && total(&upright) > width {
            let transposed = self.transposed(width);
            let widths = transposed.widths();
            if total(&widths) < total(&upright) {
                return transposed.render_with(&widths);
            }
        }
        self.render_with(&upright)
    }

    fn render_with(&self, widths: &[usize]) -> String {
        let border = border(widths);
        let mut lines = vec![border.clone(), line(&self.header, widths, &self.right), border.clone()];
        lines.extend(self.rows.iter().map(|row| line(row, widths, &self.right)));
        lines.push(border);
        lines.join("\n")
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| cell_width(name)).collect();
        for row in &self.rows {
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell_width(cell).max(*width));
        }
        widths
    }

    /// Transposes the table. Values are wrapped so that it fits into `width` characters.
    fn transposed(&self, width: usize) -> Self {
        let names = self.header.iter().map(|name| cell_width(name)).max().unwrap_or(0).max("column".len());
        let value_width = (width.saturating_sub(names + 4) / self.rows.len().max(1)).saturating_sub(3);
        let value_width = value_width.max(VALUE_WIDTH_MIN);
        let numbered = (1..=self.rows.len()).map(|row| format!("row {row}"));
        let values = if self.rows.len() == 1 { vec!["value".to_owned()] } else { numbered.collect() };
        let header: Vec<String> = std::iter::once("column".to_owned()).chain(values).collect();
        let cells =
            |column: usize| self.rows.iter().filter_map(move |row| row.get(column)).map(|c| wrapped(c, value_width));
        let rows =
            self.header.iter().enumerate().map(|(i, name)| std::iter::once(name.clone()).chain(cells(i)).collect());
        Self { right: vec![false; header.len()], rows: rows.collect(), header }
    }
}

/// A table whose rows are printed as they arrive, in columns of fixed width.
#[derive(Debug)]
pub(crate) struct LiveTable {
    columns: Vec<usize>,
    widths: Vec<usize>,
    right: Vec<bool>,
}

impl LiveTable {
    /// Chooses columns and widths from the first rows, and returns the header too. Columns of `expendable` are left
    /// out, in this order, until the table fits into `width` characters.
    pub(crate) fn begin(first: &Grid, width: usize, expendable: &[&str]) -> (Self, String) {
        let wide = |(width, right): (usize, &bool)| if *right { width.max(LIVE_WIDTH) } else { width };
        let all: Vec<usize> = first.widths().into_iter().zip(&first.right).map(wide).collect();
        let mut columns: Vec<usize> = (0..all.len()).collect();
        let chosen = |columns: &[usize]| columns.iter().map(|column| all[*column]).collect::<Vec<_>>();
        for name in expendable {
            if total(&chosen(&columns)) <= width {
                break;
            }
            columns.retain(|column| first.header[*column] != *name);
        }
        let right = columns.iter().map(|column| first.right[*column]).collect();
        let table = Self { widths: chosen(&columns), right, columns };
        let border = table.end();
        let header = format!("{border}\n{}\n{border}", table.line(&first.header));
        (table, header)
    }

    /// The lines of the next rows.
    pub(crate) fn rows(&self, grid: &Grid) -> Vec<String> {
        grid.rows.iter().map(|row| self.line(row)).collect()
    }

    /// The last line.
    pub(crate) fn end(&self) -> String {
        border(&self.widths)
    }

    fn line(&self, cells: &[String]) -> String {
        let cells: Vec<String> = self.columns.iter().filter_map(|column| cells.get(*column)).cloned().collect();
        line(&cells, &self.widths, &self.right)
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + 3).sum::<usize>() + 1
}

fn border(widths: &[usize]) -> String {
    widths.iter().fold("+".to_owned(), |border, width| border + &"-".repeat(width + 2) + "+")
}

/// Formats one row. Cells may have several lines.
fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let height = cells.iter().map(|cell| cell.split('\n').count()).max().unwrap_or(1);
    let mut lines = Vec::with_capacity(height);
    for part in 0..height {
        let mut text = "|".to_owned();
        for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
            let cell = cell.split('\n').nth(part).unwrap_or("");
            let fill = " ".repeat(width.saturating_sub(measure_text_width(cell)));
            let (before, after) = if *right { (fill.as_str(), "") } else { ("", fill.as_str()) };
            text.push_str(&format!(" {before}{cell}{after} |"));
        }
        lines.push(text);
    }
    lines.join("\n")
}

fn cell_width(cell: &str) -> usize {
    cell.split('\n').map(measure_text_width).max().unwrap_or(0)
}

/// Wraps lines to `width` characters, after a space if possible.
fn wrapped(cell: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for line in cell.split('\n') {
        let mut rest = line;
        while measure_text_width(rest) > width {
            let fits = rest.char_indices().map(|(at, c)| at + c.len_utf8());
            let fits = fits.take_while(|end| measure_text_width(&rest[..*end]) <= width).last().unwrap_or(rest.len());
            let end = rest[..fits].rfind(' ').map_or(fits, |space| space + 1);
            lines.push(rest[..end].trim_end());
            rest = &rest[end..];
        }
        lines.push(rest);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, Float32Array, Float64Array, StringArray, StructArray, UInt64Array,
    };
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn grid(columns: Vec<(&str, ArrayRef)>) -> Grid {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Grid::new(&batch.schema(), &[batch]).unwrap()
    }

    #[test]
    fn a_table_right_aligns_numbers_and_shows_null() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None]));
        let rows: ArrayRef = Arc::new(UInt64Array::from(vec![7, 12_345]));
        let share: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.123_456_789]));
        let table = "\
+------+-------+--------+
| name |  rows |  share |
+------+-------+--------+
| é    |     7 | 0.5000 |
| NULL | 12345 | 0.1235 |
+------+-------+--------+";
        assert_eq!(grid(vec![("name", names), ("rows", rows), ("share", share)]).render(120), table);
    }

    #[test]
    fn a_few_rows_wider_than_the_terminal_are_transposed() {
        let cell = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let wide = grid(vec![("first", cell("a")), ("second", cell("b")), ("third", cell("c"))]);
        assert!(wide.render(120).starts_with("+-------+--------+"));
        let transposed = "\
+--------+-------+
| column | value |
+--------+-------+
| first  | a     |
| second | b     |
| third  | c     |
+--------+-------+";
        assert_eq!(wide.render(20), transposed);
        let many: ArrayRef = Arc::new(StringArray::from(vec!["x"; 4]));
        let many = grid(vec![("first", Arc::clone(&many)), ("second", Arc::clone(&many)), ("third", many)]);
        assert!(many.render(20).contains("| first | second | third |"));
    }

    #[test]
    fn long_values_of_a_transposed_table_are_wrapped() {
        assert_eq!(wrapped("one two three", 8), "one two\nthree");
        assert_eq!(wrapped("éééééé\nab", 4), "éééé\néé\nab");
        let cell = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let table = grid(vec![("error", cell(&"word ".repeat(30))), ("model", cell("m"))]).render(60);
        assert!(table.contains("| column | value"), "{table}");
        assert!(table.lines().all(|line| line.len() <= 60), "{table}");
    }

    #[test]
    fn images_are_shown_by_their_size() {
        let images: ArrayRef = Arc::new(BinaryArray::from(vec![&[0xff_u8; 20][..], &[1, 2]]));
        let table = grid(vec![("image", images)]).render(120);
        assert!(table.contains("ffffffff... (20 bytes)") && table.contains("| 0102 "), "{table}");
    }

    #[test]
    fn numbers_inside_structs_are_rounded_too() {
        let inner: ArrayRef = Arc::new(Float32Array::from(vec![0.123_456_78]));
        let field = Arc::new(Field::new("p", DataType::Float32, true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, inner)]));
        assert!(grid(vec![("s", nested)]).render(120).contains("{p: 0.1235}"));
    }

    #[test]
    fn control_characters_are_escaped() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a\u{1b}[31mb", "two\nlines"]));
        let table = grid(vec![("name", names)]).render(120);
        assert!(table.contains("a\\u{1b}[31mb") && table.contains("| two ") && table.contains("| lines "), "{table}");
    }

    #[test]
    fn live_rows_keep_the_column_widths() {
        let row = |loss: f64, rows: u64| {
            let loss: ArrayRef = Arc::new(Float64Array::from(vec![loss]));
            let rows: ArrayRef = Arc::new(UInt64Array::from(vec![rows]));
            let batch = RecordBatch::try_from_iter([("loss", loss), ("rows", rows)]).unwrap();
            Grid::live(&batch.schema(), &batch).unwrap()
        };
        let (table, header) = LiveTable::begin(&row(0.5, 9), 120, &[]);
        let rows =
            [row(0.5, 9), row(0.123_456, 12_345_678)].iter().flat_map(|grid| table.rows(grid)).collect::<Vec<_>>();
        assert_eq!(header.lines().nth(1), Some("|      loss |      rows |"));
        assert_eq!(rows, ["|    0.5000 |         9 |", "|    0.1235 |  12345678 |"]);
    }

    #[test]
    fn a_narrow_terminal_gets_the_most_important_columns() {
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let first = grid(vec![("model", text("m")), ("epoch", text("1")), ("workers", text("2"))]);
        let (_, header) = LiveTable::begin(&first, 20, &["model", "workers"]);
        assert_eq!(header.lines().nth(1), Some("| epoch | workers |"));
        let (_, header) = LiveTable::begin(&first, 10, &["model", "workers"]);
        assert_eq!(header.lines().nth(1), Some("| epoch |"));
    }
}
