//! `file_info`: what the file of an image says about how it was stored.

use std::sync::{Arc, LazyLock};

use arrow::array::{Int32Builder, Int64Builder, NullBufferBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Shape};
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape { syntax: "file_info(image)", arguments: &[("image", Kind::Image)], required: 1 };

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns how an image is stored: `bytes` of the file (or of the samples of an image struct) and `jpeg_quality`, from \
         1 to 100, which is the quality at which libjpeg has the nearest quantization table (NULL for other formats). NULL \
         if the bytes are not an image.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT file_info(X'47494638376101000100800000c864320000002c00000000010001000002024401003b') AS stored;
+-----------------------------+
| stored                      |
+-----------------------------+
| {bytes: 35, jpeg_quality: } |
+-----------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_related_udf("image_info")
    .build()
});

fn fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Int64, true), Field::new("jpeg_quality", DataType::Int32, true)])
}

image_function! {
    /// The SQL function `file_info(image)`.
    FileInfoFunction
}

impl ScalarUDFImpl for FileInfoFunction {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("file_info", &args)?;
        let images = call.images()?;
        let mut bytes = Int64Builder::with_capacity(call.rows);
        let mut quality = Int32Builder::with_capacity(call.rows);
        let mut valid = NullBufferBuilder::new(call.rows);
        for row in 0..call.rows {
            let info = images.column.info(images.at(row)).ok();
            bytes.append_option(info.map(|_| images.column.content(images.at(row)).len() as i64));
            quality.append_option(info.and_then(|info| info.quality).map(i32::from));
            valid.append(info.is_some());
        }
        let columns = vec![Arc::new(bytes.finish()) as _, Arc::new(quality.finish()) as _];
        call.finish(Arc::new(StructArray::try_new(fields(), columns, valid.finish())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, table_of};

    #[tokio::test]
    async fn a_jpeg_has_the_quality_that_it_was_encoded_with() {
        for quality in [30, 75, 95] {
            let query = format!("SELECT file_info(encode_image({GIF}, 'jpeg', {quality}))['jpeg_quality'] AS quality");
            let found = table_of(&query).await;
            assert!(found.contains(&format!("| {quality}      |")), "{found}");
        }
    }

    #[tokio::test]
    async fn other_formats_and_structs_have_bytes_and_no_quality() {
        let query = format!("SELECT file_info({GIF}) AS file, file_info(decode_image({GIF}, 'rgb')) AS samples");
        let found = table_of(&query).await;
        assert!(
            found.contains("{bytes: 35, jpeg_quality: }") && found.contains("{bytes: 3, jpeg_quality: }"),
            "{found}"
        );
        assert!(table_of("SELECT file_info(X'00') IS NULL AS broken").await.contains("true"));
    }
}
