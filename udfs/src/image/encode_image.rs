//! `encode_image`: an image as a PNG or JPEG file.

use std::sync::{Arc, LazyLock};

use arrow::array::BinaryBuilder;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::output::{check_batch_bytes, row_error};
use super::{SECTION, image_argument};
use tusk_pixels::{Encoder, Format, alternatives, encode};

/// The default JPEG quality. At 90 the error is smaller than the noise of an 8-bit radiograph.
const QUALITY: i64 = 90;

const SHAPE: Shape = Shape {
    syntax: "encode_image(image, format [, quality])",
    arguments: &[("image", Kind::Image), ("format", Kind::Text), ("quality", Kind::Integer)],
    required: 2,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        format!(
            "Encodes an image as {}. An encoded image is decoded first, so the function converts between formats. A broken \
             image fails the query.",
            formats(|format, _| format.label().to_string())
        ),
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT image_info(encode_image(decode_image(X'47494638376101000100800000c864320000002c00000000010001000002024401003b'), 'png')) AS info;
+---------------------------------------------------------------+
| info                                                          |
+---------------------------------------------------------------+
| {width: 1, height: 1, channels: 3, bit_depth: 8, format: png} |
+---------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("format", format!("{}.", formats(argument)))
    .with_argument("quality", "JPEG quality from 1 (smallest file) to 100 (best quality). Default: 90.")
    .with_related_udf("decode_image")
    .build()
});

/// The formats that are written, each in these words.
fn formats(words: fn(Format, &Encoder) -> String) -> String {
    let formats: Vec<String> = Format::written().iter().map(|(format, encoder)| words(*format, encoder)).collect();
    alternatives(&formats)
}

/// What is passed for a format.
fn argument(format: Format, encoder: &Encoder) -> String {
    format!("`'{}'`{}", format.name(), if encoder.is_lossless { " (lossless)" } else { "" })
}

image_function! {
    /// The SQL function `encode_image(image, format [, quality])`.
    EncodeImage
}

impl ScalarUDFImpl for EncodeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("encode_image", &args)?;
        let images = call.images()?;
        let mut files = BinaryBuilder::new();
        let mut total = 0_usize;
        for row in 0..call.rows {
            let at = images.at(row);
            if images.column.is_null(at) || call.has_null(row) {
                files.append_null();
                continue;
            }
            let quality = if call.has(2) { call.integer(2, row)? } else { QUALITY };
            let quality = u8::try_from(quality)
                .ok()
                .filter(|quality| (1..=100).contains(quality))
                .ok_or_else(|| exec_datafusion_err!("encode_image: quality must be from 1 to 100, got {quality}"))?;
            let pixels =
                images.column.pixels_as_stored(at).map_err(|error| row_error(call.function, &images, row, &error))?;
            let file = encode(&pixels, call.text(1, row)?, quality)
                .map_err(|error| row_error(call.function, &images, row, &error))?;
            total = total.saturating_add(file.len());
            check_batch_bytes(call.function, total)?;
            files.append_value(file);
        }
        call.finish(Arc::new(files.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};

    #[tokio::test]
    async fn a_png_round_trip_loses_nothing() {
        let original = table_of(&format!("SELECT decode_image({GIF}) AS image")).await;
        let again = table_of(&format!("SELECT decode_image(encode_image({GIF}, 'PNG')) AS image")).await;
        assert_eq!(again, original);
    }

    #[tokio::test]
    async fn quality_changes_a_jpeg() {
        let query = format!(
            "SELECT count(DISTINCT encode_image(resize_image({GIF}, 16, 16), 'jpeg', quality)) AS files
             FROM (VALUES (5), (90)) AS t(quality)"
        );
        assert!(table_of(&query).await.contains("| 2 "));
    }

    #[tokio::test]
    async fn unknown_formats_and_qualities_are_refused_with_their_reason() {
        let format = error_of(&format!("SELECT encode_image({GIF}, 'dicom')")).await;
        assert!(format.contains("unknown format 'dicom'; use 'png' or 'jpeg'"), "{format}");
        for quality in [0, 101, -1, 1000] {
            let error = error_of(&format!("SELECT encode_image({GIF}, 'jpeg', {quality})")).await;
            assert!(error.contains(&format!("quality must be from 1 to 100, got {quality}")), "{error}");
        }
    }
}
