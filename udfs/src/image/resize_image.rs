//! `resize_image`: resampling.

use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::output::{ImageStructBuilder, image_struct, row_error};
use super::{SECTION, image_argument};
use tusk_pixels::{Filter, SIDE_MAX, resize_with};

const SHAPE: Shape = Shape {
    syntax: "resize_image(image, width, height [, filter])",
    arguments: &[("image", Kind::Image), ("width", Kind::Integer), ("height", Kind::Integer), ("filter", Kind::Text)],
    required: 3,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Resamples an image to `width` x `height` pixels, ignoring its aspect ratio, and returns Spark's image struct. \
         The result matches Pillow's `Image.resize` with the same filter to within one grey level. A broken image \
         fails the query.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT resize_image(X'47494638376101000100800000c864320000002c00000000010001000002024401003b', 2, 1) AS image;
+-----------------------------------------------------------------------------+
| image                                                                       |
+-----------------------------------------------------------------------------+
| {origin: , height: 1, width: 2, nChannels: 3, mode: 16, data: 3264c83264c8} |
+-----------------------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("width", "Width of the result in pixels, 1 to 65,535.")
    .with_argument("height", "Height of the result in pixels, 1 to 65,535.")
    .with_argument("filter", "`'nearest'`, `'box'`, `'bilinear'` (the default), `'bicubic'` or `'lanczos'`.")
    .with_related_udf("decode_image")
    .build()
});

image_function! {
    /// The SQL function `resize_image(image, width, height [, filter])`.
    ResizeImage
}

impl ScalarUDFImpl for ResizeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(image_struct())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("resize_image", &args)?;
        let images = call.images()?;
        let mut resized = ImageStructBuilder::default();
        for row in 0..call.rows {
            let at = images.at(row);
            if images.column.is_null(at) || call.has_null(row) {
                resized.append_null();
                continue;
            }
            let (width, height) = (side(&call, "width", 1, row)?, side(&call, "height", 2, row)?);
            let filter = if call.has(3) {
                call.text(3, row)?.parse().map_err(|error| exec_datafusion_err!("resize_image: {error}"))?
            } else {
                Filter::default()
            };
            let pixels =
                images.column.pixels_as_stored(at).map_err(|error| row_error(call.function, &images, row, &error))?;
            let pixels = resize_with(&pixels, width, height, filter)
                .map_err(|error| row_error(call.function, &images, row, &error))?;
            resized.append(call.function, images.column.origin(at), &pixels)?;
        }
        call.finish(resized.finish()?)
    }
}

fn side(call: &Call, name: &str, index: usize, row: usize) -> Result<u32> {
    let value = call.integer(index, row)?;
    let side = u32::try_from(value).ok().filter(|side| (1..=SIDE_MAX).contains(side));
    side.ok_or_else(|| exec_datafusion_err!("resize_image: {name} is {value}; use 1 to {SIDE_MAX} pixels"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};

    #[tokio::test]
    async fn sides_may_differ_from_row_to_row() {
        let query = format!(
            "SELECT get_field(resize_image({GIF}, side, 2 * side, 'lanczos'), 'height') AS height
             FROM (VALUES (1), (3)) AS t(side) ORDER BY side"
        );
        let table = table_of(&query).await;
        assert!(table.contains("| 2      |\n| 6      |"), "{table}");
    }

    #[tokio::test]
    async fn a_decoded_image_resizes_as_its_file_does() {
        let of_file = table_of(&format!("SELECT resize_image({GIF}, 3, 2) AS image")).await;
        let of_struct = table_of(&format!("SELECT resize_image(decode_image({GIF}), 3, 2) AS image")).await;
        assert_eq!(of_file, of_struct);
    }

    #[tokio::test]
    async fn impossible_sides_and_filters_are_refused_with_their_reason() {
        for (call, message) in [
            (format!("resize_image({GIF}, 0, 2)"), "resize_image: width is 0; use 1 to 65535 pixels"),
            (format!("resize_image({GIF}, 5, -2)"), "resize_image: height is -2; use 1 to 65535 pixels"),
            (format!("resize_image({GIF}, 65535, 65535)"), "an image of 65535 x 65535 pixels is too large"),
            (format!("resize_image({GIF}, 5, 5, 'cubic')"), "unknown filter 'cubic'; use 'nearest', 'box'"),
            ("resize_image(X'', 5, 5)".to_string(), "resize_image: row 0 of the batch: the image is empty (0 bytes)"),
        ] {
            let error = error_of(&format!("SELECT {call}")).await;
            assert!(error.contains(message), "{call}: {error}");
        }
    }
}
