//! SQL functions on images: one per file.
//!
//! An image argument is encoded bytes or Spark's image struct (see [`tusk_pixels::ImageColumn`]). Every function
//! returns NULL if any argument is NULL.

#[macro_use]
mod declare;
mod args;
mod change_image;
mod content_hash;
mod decode_image;
mod encode_image;
mod file_info;
mod image_info;
mod image_tags;
mod normalize_image;
mod output;
mod resize_image;
#[cfg(test)]
mod testing;
mod try_decode_image;

use std::sync::Arc;

use datafusion::logical_expr::{DocSection, ScalarUDF};

use tusk_pixels::{alternatives, labels};

pub use change_image::ChangeImage;
pub use content_hash::ContentHash;
pub use decode_image::DecodeImage;
pub use encode_image::EncodeImage;
pub use file_info::FileInfoFunction;
pub use image_info::ImageInfoFunction;
pub use image_tags::ImageTags;
pub use normalize_image::NormalizeImage;
pub(crate) use normalize_image::tensor_fields;
pub use resize_image::ResizeImage;
pub use try_decode_image::TryDecodeImage;

/// The section of these functions in the manual.
const SECTION: DocSection = DocSection { include: true, label: "Image Functions", description: None };

/// The documentation of an image argument.
fn image_argument() -> String {
    format!(
        "The image: the bytes of a {} file, or Spark's image struct (`origin`, `height`, `width`, `nChannels`, `mode`, \
         `data`).",
        alternatives(&labels())
    )
}

/// All image functions, ready to be registered.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(DecodeImage::new())),
        Arc::new(ScalarUDF::from(TryDecodeImage::new())),
        Arc::new(ScalarUDF::from(EncodeImage::new())),
        Arc::new(ScalarUDF::from(ImageInfoFunction::new())),
        Arc::new(ScalarUDF::from(FileInfoFunction::new())),
        Arc::new(ScalarUDF::from(ImageTags::new())),
        Arc::new(ScalarUDF::from(ContentHash::new())),
        Arc::new(ScalarUDF::from(NormalizeImage::new())),
        Arc::new(ScalarUDF::from(ResizeImage::new())),
        Arc::new(ScalarUDF::from(ChangeImage::new())),
    ]
}

#[cfg(test)]
mod tests {
    use super::testing::{error_of, table_of};
    use super::*;

    #[tokio::test]
    async fn the_documented_examples_give_the_documented_results() {
        for function in functions() {
            let example = function.documentation().unwrap().sql_example.clone().unwrap();
            let example = example.strip_prefix("```sql\n> ").unwrap().strip_suffix("\n```").unwrap();
            let (statement, table) = example.split_once(";\n").unwrap();
            assert!(statement.contains(function.name()), "{statement}");
            assert_eq!(table_of(statement).await, table, "{statement}");
        }
    }

    #[tokio::test]
    async fn a_null_argument_gives_null() {
        for call in [
            "image_info(NULL)",
            "file_info(NULL)",
            "image_tags(NULL)",
            "content_hash(NULL)",
            "decode_image(NULL)",
            "try_decode_image(NULL, 'rgb')",
            "decode_image(image, CAST(NULL AS VARCHAR))",
            "resize_image(image, NULL, 4)",
            "resize_image(image, 4, 4, CAST(NULL AS VARCHAR))",
            "change_image(image, 'wide')",
            "change_image(NULL, 'wide')",
            "change_image(image, CAST(NULL AS VARCHAR))",
            "normalize_image(image, NULL, 1)",
            "normalize_image(NULL, 0.5, 0.5)",
            "encode_image(image, NULL)",
            "encode_image(NULL, 'png')",
            "encode_image(image, 'jpeg', NULL)",
        ] {
            for from in ["(VALUES (CAST(X'474946' AS BYTEA)))", "(VALUES (X'474946'), (X'00'))"] {
                let found = table_of(&format!("SELECT bool_and(({call}) IS NULL) FROM {from} AS t(image)")).await;
                assert!(found.contains("true"), "{call}: {found}");
            }
        }
    }

    #[tokio::test]
    async fn wrong_arguments_are_refused_when_the_query_is_planned() {
        for (call, message) in [
            (
                "decode_image(1)",
                "decode_image(image [, mode]): argument 'image' must be an image, not Int64; an image is",
            ),
            ("decode_image('a.jpeg')", "argument 'image' must be an image, not Utf8; an image is encoded bytes"),
            ("decode_image(X'00', 3)", "argument 'mode' must be text, not Int64"),
            ("decode_image()", "decode_image(image [, mode]) takes 1 to 2 arguments, not 0"),
            ("image_info(X'00', 1)", "image_info(image) takes 1 argument, not 2"),
            ("resize_image(X'00', 4)", "resize_image(image, width, height [, filter]) takes 3 to 4 arguments, not 2"),
            ("change_image(X'00')", "change_image(image, change) takes 2 arguments, not 1"),
            ("change_image(X'00', 4)", "argument 'change' must be text, not Int64"),
            ("resize_image(X'00', 'a', 4)", "argument 'width' must be an integer, not Utf8"),
            ("normalize_image(X'00', 'a', 4)", "argument 'mean' must be a number or a list of numbers, not Utf8"),
        ] {
            let error = error_of(&format!("SELECT {call}")).await;
            assert!(error.contains(message), "{call}: {error}");
        }
    }
}
