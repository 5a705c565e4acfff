//! Formats values for people: rounded numbers, and images as their size.

use anyhow::Result;
use datafusion::arrow::array::{Array, ArrayData, ArrayRef, AsArray, PrimitiveArray, make_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// Decimals of a number, unless it is small.
pub(super) const DECIMALS: usize = 4;
/// The largest number of characters of a list, struct or map.
const NESTED_MAX: usize = 200;

/// Formats a column.
pub(super) fn cells_of(array: &ArrayRef) -> Result<Vec<String>> {
    let each = |text: &dyn Fn(usize) -> String| {
        (0..array.len()).map(|row| if array.is_null(row) { "NULL".to_owned() } else { text(row) }).collect()
    };
    Ok(match array.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let values = cast(array, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            each(&|row| rounded_text(values.value(row)))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let values = cast(array, &DataType::LargeBinary)?;
            let values = values.as_binary::<i64>();
            each(&|row| bytes_text(values.value(row)))
        }
        nested if nested.is_nested() => {
            let array = make_array(rounded(array.to_data())?);
            formatted(&array)?.into_iter().map(|cell| shortened(printable(&cell))).collect()
        }
        _ => formatted(array)?.iter().map(|cell| printable(cell)).collect(),
    })
}

fn formatted(array: &ArrayRef) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_display_error(true).with_null("NULL");
    let formatter = ArrayFormatter::try_new(array, &options)?;
    Ok((0..array.len()).map(|row| formatter.value(row).to_string()).collect())
}

/// Rounds the numbers inside lists, structs and maps.
fn rounded(data: ArrayData) -> Result<ArrayData> {
    Ok(match data.data_type() {
        DataType::Float32 => {
            let values = PrimitiveArray::<Float32Type>::from(data);
            values.unary::<_, Float32Type>(|value| rounded_value(f64::from(value)) as f32).to_data()
        }
        DataType::Float64 => PrimitiveArray::<Float64Type>::from(data).unary::<_, Float64Type>(rounded_value).to_data(),
        _ => {
            let children = data.child_data().iter().cloned().map(rounded).collect::<Result<Vec<_>>>()?;
            data.into_builder().child_data(children).build()?
        }
    })
}

fn rounded_value(value: f64) -> f64 {
    rounded_text(value).parse().unwrap_or(value)
}

/// Formats with four decimals, or with four significant digits if the number is small.
fn rounded_text(value: f64) -> String {
    // Turns -0.0 into 0.0.
    let value = value + 0.0;
    let size = value.abs();
    if !value.is_finite() || size >= 1e15 {
        return value.to_string();
    }
    if size > 0.0 && size < 1e-4 {
        return format!("{value:.3e}");
    }
    let digits = match size {
        _ if size == 0.0 || size >= 0.1 => DECIMALS,
        _ if size >= 0.01 => DECIMALS + 1,
        _ if size >= 0.001 => DECIMALS + 2,
        _ => DECIMALS + 3,
    };
    let text = format!("{value:.digits$}");
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

/// Pads the numbers of a column to the same number of decimals, unless small numbers have many.
pub(super) fn align_decimals(cells: &mut [String], decimals_min: usize) {
    let decimals =
        |cell: &str| cell.split_once('.').filter(|_| !cell.contains('e')).map(|(_, decimals)| decimals.len());
    let most = cells.iter().filter_map(|cell| decimals(cell)).max().unwrap_or(0).max(decimals_min);
    if most <= DECIMALS {
        for cell in cells {
            if let Some(has) = decimals(cell) {
                cell.push_str(&"0".repeat(most - has));
            }
        }
    }
}

/// Formats a few bytes as hexadecimal digits, and more, such as an image, as their number.
fn bytes_text(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 16;
    const BEGINNING: usize = 4;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match bytes.get(..BEGINNING) {
        Some(beginning) if bytes.len() > SHOWN_MAX => format!("{}... ({} bytes)", hex(beginning), bytes.len()),
        _ => hex(bytes),
    }
}

/// Replaces control characters by their codes, because they could control the terminal.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(NESTED_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_readable_lengths() {
        for (value, text) in [
            (0.977_738_883_115_462_4, "0.9777"),
            (0.9, "0.9"),
            (-1.5, "-1.5"),
            (12.0, "12.0"),
            (1_234.567_89, "1234.5679"),
            (0.001, "0.001"),
            (0.000_975_528, "0.0009755"),
            (0.099_999_9, "0.1"),
            (0.000_012_34, "1.234e-5"),
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(rounded_text(value), text);
        }
    }
}
