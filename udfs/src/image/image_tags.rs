//! `image_tags`: what the file of an image says about what made it.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Builder, Int32Builder, NullBufferBuilder, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape { syntax: "image_tags(image)", arguments: &[("image", Kind::Image)], required: 1 };

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the Exif tags of an image that say what made it: `orientation` from 1 to 8, `make` and `model` of the \
         device, `software`, and `dots_per_inch`. A tag that is missing or malformed is NULL. NULL if the bytes are not an \
         image. JPEG, PNG, TIFF and WebP have tags.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT image_tags(X'47494638376101000100800000c864320000002c00000000010001000002024401003b') AS tags;
+---------------------------------------------------------------+
| tags                                                          |
+---------------------------------------------------------------+
| {orientation: , make: , model: , software: , dots_per_inch: } |
+---------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_related_udf("file_info")
    .build()
});

fn fields() -> Fields {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Fields::from(vec![
        Field::new("orientation", DataType::Int32, true),
        text("make"),
        text("model"),
        text("software"),
        Field::new("dots_per_inch", DataType::Float64, true),
    ])
}

image_function! {
    /// The SQL function `image_tags(image)`.
    ImageTags
}

impl ScalarUDFImpl for ImageTags {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("image_tags", &args)?;
        let images = call.images()?;
        let mut orientation = Int32Builder::with_capacity(call.rows);
        let mut texts: [StringBuilder; 3] = std::array::from_fn(|_| StringBuilder::new());
        let mut resolution = Float64Builder::with_capacity(call.rows);
        let mut valid = NullBufferBuilder::new(call.rows);
        for row in 0..call.rows {
            let image = images.at(row);
            let tags = images.column.tags(image);
            orientation.append_option(tags.orientation.map(i32::from));
            for (builder, text) in texts.iter_mut().zip([tags.make, tags.model, tags.software]) {
                builder.append_option(text);
            }
            resolution.append_option(tags.dots_per_inch);
            valid.append(images.column.info(image).is_ok());
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(orientation.finish())];
        for builder in &mut texts {
            columns.push(Arc::new(builder.finish()));
        }
        columns.push(Arc::new(resolution.finish()));
        call.finish(Arc::new(StructArray::try_new(fields(), columns, valid.finish())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, table_of};

    /// A TIFF file of one black pixel, whose maker is `Ace` and whose orientation is 3.
    const TIFF: &str = "X'49492a00080000000b000001030001000000010000000101030001000000010000000201030001000000080000000301\
                        030001000000010000000601030001000000010000000f01020004000000416365001101040001000000920000001201\
                        030001000000030000001501030001000000010000001601030001000000010000001701040001000000010000000000\
                        000000'";

    #[tokio::test]
    async fn the_tags_of_a_file_are_its_fields() {
        let found = table_of(&format!("SELECT image_tags({TIFF}) AS tags")).await;
        assert!(found.contains("{orientation: 3, make: Ace, model: , software: , dots_per_inch: }"), "{found}");
    }

    #[tokio::test]
    async fn an_image_without_tags_has_none_and_broken_bytes_are_null() {
        let query = format!(
            "SELECT count(*) AS images, count(image_tags(image)) AS readable, count(image_tags(image)['make']) AS makers
             FROM (VALUES ({GIF}), (X''), (X'3c68746d6c'), (NULL)) AS t(image)"
        );
        assert!(table_of(&query).await.contains("| 4      | 1        | 0      |"));
        let samples = table_of(&format!("SELECT image_tags(decode_image({GIF}, 'grey')) AS tags")).await;
        assert!(samples.contains("{orientation: , make: , model: , software: , dots_per_inch: }"), "{samples}");
    }
}
