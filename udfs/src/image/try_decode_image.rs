//! `try_decode_image`: `decode_image` that returns NULL for broken images.

use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::decode_image::{MODE_ARGUMENT, OnBroken, decode_column};
use super::output::image_struct;
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape {
    syntax: "try_decode_image(image [, mode])",
    arguments: &[("image", Kind::Image), ("mode", Kind::Text)],
    required: 1,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Decodes an image like `decode_image`, but returns NULL for a broken image.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT try_decode_image(X'3c68746d6c3e') IS NULL AS broken;
+--------+
| broken |
+--------+
| true   |
+--------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("mode", MODE_ARGUMENT)
    .with_related_udf("decode_image")
    .build()
});

image_function! {
    /// The SQL function `try_decode_image(image [, mode])`.
    TryDecodeImage
}

impl ScalarUDFImpl for TryDecodeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(image_struct())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        decode_column(&Call::new("try_decode_image", &args)?, OnBroken::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};

    #[tokio::test]
    async fn broken_rows_are_null_and_the_others_are_decoded() {
        let query = format!(
            "SELECT count(*) AS images, count(try_decode_image(image)) AS readable
             FROM (VALUES ({GIF}), (X''), (X'ffd8ff'), (NULL), ({GIF})) AS t(image)"
        );
        assert!(table_of(&query).await.contains("| 5      | 2        |"));
    }

    #[tokio::test]
    async fn an_unknown_mode_fails() {
        let error = error_of(&format!("SELECT try_decode_image({GIF}, 'cmyk')")).await;
        assert!(error.contains("try_decode_image: unknown mode 'cmyk'"), "{error}");
    }
}
