//! `decode_image`: encoded bytes to Spark's image struct.

use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::output::{ImageStructBuilder, image_struct, row_error};
use super::{SECTION, image_argument};
use tusk_pixels::Channels;

/// The documentation of the argument `mode`.
pub(super) const MODE_ARGUMENT: &str =
    "`'grey'` or `'rgb'`. Default: one channel for grey files, three for all others. Alpha is composited on black.";

const SHAPE: Shape = Shape {
    syntax: "decode_image(image [, mode])",
    arguments: &[("image", Kind::Image), ("mode", Kind::Text)],
    required: 1,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Decodes an image into Spark's image struct: `origin`, `height`, `width`, `nChannels`, `mode` (OpenCV's type \
         code: 0 grey, 16 colour) and `data` (8-bit samples, row by row, colours as blue, green, red). The Exif \
         orientation is applied. A broken image fails the query; `try_decode_image` gives NULL for it.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT decode_image(X'47494638376101000100800000c864320000002c00000000010001000002024401003b', 'rgb') AS image;
+-----------------------------------------------------------------------+
| image                                                                 |
+-----------------------------------------------------------------------+
| {origin: , height: 1, width: 1, nChannels: 3, mode: 16, data: 3264c8} |
+-----------------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("mode", MODE_ARGUMENT)
    .with_related_udf("try_decode_image")
    .with_related_udf("encode_image")
    .build()
});

image_function! {
    /// The SQL function `decode_image(image [, mode])`.
    DecodeImage
}

impl ScalarUDFImpl for DecodeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(image_struct())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        decode_column(&Call::new("decode_image", &args)?, OnBroken::Fail)
    }
}

/// The handling of broken images.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnBroken {
    Fail,
    Null,
}

/// Returns the channels of a mode.
fn channels_of(function: &str, mode: &str) -> Result<Channels> {
    match mode.to_ascii_lowercase().as_str() {
        "grey" | "gray" => Ok(Channels::Grey),
        "rgb" => Ok(Channels::Rgb),
        _ => exec_err!("{function}: unknown mode '{mode}'; use 'grey' or 'rgb', or omit it"),
    }
}

/// Decodes every row of a call of `decode_image` or `try_decode_image`.
pub(super) fn decode_column(call: &Call, on_broken: OnBroken) -> Result<ColumnarValue> {
    let images = call.images()?;
    let mut decoded = ImageStructBuilder::default();
    for row in 0..call.rows {
        let at = images.at(row);
        if images.column.is_null(at) || call.has_null(row) {
            decoded.append_null();
            continue;
        }
        let pixels = if call.has(1) {
            images.column.pixels(at, channels_of(call.function, call.text(1, row)?)?)
        } else {
            images.column.pixels_as_stored(at)
        };
        match (pixels, on_broken) {
            (Ok(pixels), _) => decoded.append(call.function, images.column.origin(at), &pixels)?,
            (Err(_), OnBroken::Null) => decoded.append_null(),
            (Err(error), OnBroken::Fail) => {
                let advice = format!("{error}. Use try_decode_image to get NULL instead");
                return Err(row_error(call.function, &images, row, &advice));
            }
        }
    }
    call.finish(decoded.finish()?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};

    #[tokio::test]
    async fn a_broken_image_fails_the_query_and_names_its_row() {
        let error =
            error_of(&format!("SELECT decode_image(image) FROM (VALUES ({GIF}), (X'3c68746d6c')) AS t(image)")).await;
        assert!(
            error.contains("decode_image: row 1 of the batch: unsupported image format; Tusk reads JPEG"),
            "{error}"
        );
        assert!(error.contains("The first bytes are 3c 68 74 6d 6c"), "{error}");
        assert!(error.contains("Use try_decode_image to get NULL instead"), "{error}");
    }

    #[tokio::test]
    async fn the_mode_decides_the_channels() {
        let fields = |mode| format!("SELECT get_field(decode_image({GIF}{mode}), 'nChannels') AS channels");
        assert!(table_of(&fields(", 'grey'")).await.contains("| 1 "));
        assert!(table_of(&fields(", 'RGB'")).await.contains("| 3 "));
        assert!(table_of(&fields("")).await.contains("| 3 "));
        let error = error_of(&fields(", 'hsv'")).await;
        assert!(error.contains("unknown mode 'hsv'; use 'grey' or 'rgb'"), "{error}");
    }

    #[tokio::test]
    async fn a_column_and_its_view_type_decode_alike() {
        let query = |cast: &str| {
            format!("SELECT decode_image({cast}, 'grey') AS image FROM (VALUES ({GIF}), (NULL)) AS t(image)")
        };
        let plain = table_of(&query("image")).await;
        assert!(plain.contains("nChannels: 1, mode: 0, data: 7c}"), "{plain}");
        for data_type in ["BinaryView", "LargeBinary"] {
            assert_eq!(table_of(&query(&format!("arrow_cast(image, '{data_type}')"))).await, plain);
        }
    }
}
