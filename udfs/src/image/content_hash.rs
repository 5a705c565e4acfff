//! `content_hash`: what an image is recognised by.

use std::sync::{Arc, LazyLock};

use arrow::array::UInt64Array;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};
use tusk_core::random::content_hash;

use super::args::{Call, Kind, Shape};
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape { syntax: "content_hash(image)", arguments: &[("image", Kind::Image)], required: 1 };

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the content hash of an image: the first 64 bits of the BLAKE3 hash of its file (or of the samples of an \
         image struct), as a whole number. Training assigns rows to workers by it, and finds leaks. Files with the same \
         bytes have the same hash. The bytes need not be an image.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT content_hash(X'47494638376101000100800000c864320000002c00000000010001000002024401003b') AS hash;
+---------------------+
| hash                |
+---------------------+
| 1309040818938692740 |
+---------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_related_udf("file_info")
    .build()
});

image_function! {
    /// The SQL function `content_hash(image)`.
    ContentHash
}

impl ScalarUDFImpl for ContentHash {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("content_hash", &args)?;
        let images = call.images()?;
        let hash = |row: usize| {
            let image = images.at(row);
            (!images.column.is_null(image)).then(|| content_hash(images.column.content(image)))
        };
        call.finish(Arc::new((0..call.rows).map(hash).collect::<UInt64Array>()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, table_of};

    #[tokio::test]
    async fn copies_have_the_same_hash_and_other_bytes_another() {
        let query = format!(
            "SELECT count(DISTINCT content_hash(image)) AS hashes, count(content_hash(image)) AS images
             FROM (VALUES ({GIF}), ({GIF}), (X''), (X'00'), (NULL)) AS t(image)"
        );
        assert!(table_of(&query).await.contains("| 3      | 4      |"));
    }
}
