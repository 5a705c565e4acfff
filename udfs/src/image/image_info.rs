//! `image_info`: the header of an image.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Builder, NullBufferBuilder, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape { syntax: "image_info(image)", arguments: &[("image", Kind::Image)], required: 1 };

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns an image's header: `width` and `height` in pixels after orientation, `channels` in the file \
         (including alpha and CMYK), `bit_depth` and `format` (`raw` for an image struct). NULL if the bytes are not \
         an image. Pixels are not decoded, so a truncated file still has a result.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT image_info(X'47494638376101000100800000c864320000002c00000000010001000002024401003b') AS info;
+---------------------------------------------------------------+
| info                                                          |
+---------------------------------------------------------------+
| {width: 1, height: 1, channels: 3, bit_depth: 8, format: gif} |
+---------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_related_udf("decode_image")
    .build()
});

fn fields() -> Fields {
    let integer = |name: &str| Field::new(name, DataType::Int32, true);
    Fields::from(vec![
        integer("width"),
        integer("height"),
        integer("channels"),
        integer("bit_depth"),
        Field::new("format", DataType::Utf8, true),
    ])
}

image_function! {
    /// The SQL function `image_info(image)`.
    ImageInfoFunction
}

impl ScalarUDFImpl for ImageInfoFunction {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("image_info", &args)?;
        let images = call.images()?;
        let mut integers: [Int32Builder; 4] = std::array::from_fn(|_| Int32Builder::with_capacity(call.rows));
        let mut format = StringBuilder::new();
        let mut valid = NullBufferBuilder::new(call.rows);
        for row in 0..call.rows {
            let info = images.column.info(images.at(row)).ok();
            // Sides are bounded by MAX_PIXELS, which fits 31 bits; no value is lost here.
            let numbers = info.map(|info| {
                [info.width as i32, info.height as i32, i32::from(info.channels), i32::from(info.bit_depth)]
            });
            for (index, builder) in integers.iter_mut().enumerate() {
                builder.append_option(numbers.map(|numbers| numbers[index]));
            }
            format.append_option(info.map(|info| info.format));
            valid.append(info.is_some());
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(5);
        for builder in &mut integers {
            columns.push(Arc::new(builder.finish()));
        }
        columns.push(Arc::new(format.finish()));
        call.finish(Arc::new(StructArray::try_new(fields(), columns, valid.finish())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, table_of};

    #[tokio::test]
    async fn broken_images_and_null_have_no_info() {
        let query = format!(
            "SELECT count(*) AS images, count(image_info(image)) AS readable
             FROM (VALUES ({GIF}), (X''), (X'3c68746d6c'), (NULL)) AS t(image)"
        );
        assert!(table_of(&query).await.contains("| 4      | 1        |"));
    }

    #[tokio::test]
    async fn a_decoded_image_has_info_too() {
        let info = table_of(&format!("SELECT image_info(decode_image({GIF}, 'grey')) AS info")).await;
        assert!(info.contains("{width: 1, height: 1, channels: 1, bit_depth: 8, format: raw}"), "{info}");
    }
}
