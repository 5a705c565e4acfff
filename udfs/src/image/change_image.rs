//! `change_image`: the fixed changes of a stress test.

use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};
use tusk_core::error::nearest;
use tusk_pixels::{CHANGES, Change, change_named};

use super::args::{Call, Kind, Shape};
use super::output::{ImageStructBuilder, image_struct};
use super::{SECTION, image_argument};

const SHAPE: Shape = Shape {
    syntax: "change_image(image, change)",
    arguments: &[("image", Kind::Image), ("change", Kind::Text)],
    required: 2,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Changes an image as another site could have taken, processed or saved it, and returns Spark's image struct of \
         the same width, height and channels. The same image always gives the same result. NULL for an image that is \
         unreadable or too large to be resampled. `EVALUATE MODEL m ON t OPTIONS (show = 'stress')` measures a model \
         on every change.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT change_image(X'47494638376101000100800000c864320000002c00000000010001000002024401003b', 'low contrast') AS image;
+-----------------------------------------------------------------------+
| image                                                                 |
+-----------------------------------------------------------------------+
| {origin: , height: 1, width: 1, nChannels: 3, mode: 16, data: 496cb2} |
+-----------------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("change", change_argument())
    .with_related_udf("resize_image")
    .build()
});

/// The documentation of the argument `change`.
fn change_argument() -> String {
    let changes = CHANGES.iter().map(|change| format!("`'{}'` ({})", change.name, change.meaning));
    format!("{}.", changes.collect::<Vec<_>>().join(", "))
}

image_function! {
    /// The SQL function `change_image(image, change)`.
    ChangeImage
}

impl ScalarUDFImpl for ChangeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(image_struct())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new("change_image", &args)?;
        let images = call.images()?;
        let mut changed = ImageStructBuilder::default();
        for row in 0..call.rows {
            let at = images.at(row);
            if images.column.is_null(at) || call.has_null(row) {
                changed.append_null();
                continue;
            }
            let change = change_of(call.text(1, row)?)?;
            // As `predict`, the function gives NULL for an unreadable image, so that it does not end a stress test.
            let pixels = images.column.pixels_as_stored(at).ok().and_then(|pixels| (change.apply)(&pixels).ok());
            match pixels {
                Some(pixels) => changed.append(call.function, images.column.origin(at), &pixels)?,
                None => changed.append_null(),
            }
        }
        call.finish(changed.finish()?)
    }
}

fn change_of(name: &str) -> Result<&'static Change> {
    change_named(name).ok_or_else(|| {
        let suggestion = nearest(name, CHANGES.iter().map(|change| change.name));
        let suggestion = suggestion.map_or_else(|| ".".to_owned(), |near| format!("; did you mean '{near}'?"));
        let names: Vec<String> = CHANGES.iter().map(|change| format!("'{}'", change.name)).collect();
        exec_datafusion_err!("change_image: unknown change '{name}'{suggestion} The changes are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};

    #[tokio::test]
    async fn a_decoded_image_changes_as_its_file_does() {
        let of_file = table_of(&format!("SELECT change_image({GIF}, 'DARK') AS image")).await;
        let of_struct = table_of(&format!("SELECT change_image(decode_image({GIF}), 'dark') AS image")).await;
        assert_eq!(of_file, of_struct);
    }

    #[tokio::test]
    async fn unreadable_images_are_null_and_the_others_are_changed() {
        let query = format!(
            "SELECT count(*) AS images, count(change_image(image, change)) AS changed
             FROM (VALUES ({GIF}, 'wide'), (X'', 'jpeg'), (X'ffd8ff', 'haze'), (NULL, 'wide'), ({GIF}, 'coarse'), \
             ({GIF}, NULL)) AS t(image, change)"
        );
        let table = table_of(&query).await;
        assert!(table.contains("| 6      | 2       |"), "{table}");
    }

    #[tokio::test]
    async fn an_unknown_change_is_refused_with_the_names() {
        let error = error_of(&format!("SELECT change_image({GIF}, 'wyde')")).await;
        let message = "change_image: unknown change 'wyde'; did you mean 'wide'? The changes are 'wide', 'narrow', ";
        assert!(error.contains(message), "{error}");
        // Also if no image can be read.
        let error = error_of("SELECT change_image(X'00', 'inverted')").await;
        assert!(error.contains("change_image: unknown change 'inverted'. The changes are 'wide', "), "{error}");
    }
}
