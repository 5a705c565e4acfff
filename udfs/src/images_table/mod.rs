//! Folders of image files as tables.
//!
//! ```sql
//! CREATE EXTERNAL TABLE xrays STORED AS IMAGES LOCATION 'chest_xray/train/';
//! SELECT label, count(*), avg(width) FROM xrays GROUP BY label;
//! ```
//!
//! | column | type | |
//! |---|---|---|
//! | path | Utf8 | below the location, parts joined by `/` |
//! | image | Binary | the file's bytes, as they are |
//! | label | Utf8 | the name of the folder that the file lies in |
//! | width, height | Int32 | pixels, as the image is shown; NULL where the header cannot be read |
//! | format | Utf8 | `jpeg`, `png`, ... by the bytes, not by the name; NULL where the header cannot be read |
//!
//! **Every file is a row.** A file that is not an image (a text file, a broken download) has NULL in width, height and
//! format, so that training reports it as unreadable. Only hidden files are left out: those whose name, or a folder's
//! name below the location, starts with a dot (`.DS_Store`, the `._` files of archives made on a Mac). A file above
//! [`IMAGE_BYTES_MAX`] is a row with a NULL image.
//!
//! Files are listed when a query is planned and opened when it runs, and only where a query asks for `image`, `width`,
//! `height` or `format`. Conditions on `path` and `label` are applied to the list before any file is opened.

mod factory;
mod read_exec;
mod read_file;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use factory::ImagesTableFactory;
pub use read_exec::ReadImagesExec;
pub use table::ImagesTable;

/// Maximum size of an image file: 128 MiB. Radiographs of 20 million 16-bit pixels take 40 MB uncompressed.
pub const IMAGE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The columns of every table of images.
pub fn images_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("image", DataType::Binary, true),
            Field::new("label", DataType::Utf8, true),
            Field::new("width", DataType::Int32, true),
            Field::new("height", DataType::Int32, true),
            Field::new("format", DataType::Utf8, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of the file list that [`ReadImagesExec`] reads from: `path` below the location, and the size in bytes.
fn listing_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("size", DataType::UInt64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
