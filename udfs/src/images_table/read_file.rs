//! Reads one file of the list.

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};

use super::IMAGE_BYTES_MAX;
use tusk_pixels::{ImageInfo, probe};

/// Bytes that are read first if only the header is needed. If the header is longer, for example because of an Exif
/// preview, the whole file is read.
const HEADER_BYTES: u64 = 64 * 1024;

/// The path of an object below a folder; `None` for an object that is not below it.
pub(super) fn relative_to<'a>(folder: &Path, object: &'a Path) -> Option<&'a str> {
    let (folder, object) = (folder.as_ref(), object.as_ref());
    if folder.is_empty() {
        return Some(object);
    }
    object.strip_prefix(folder)?.strip_prefix('/')
}

/// Returns the name of the folder of a file, which may be the folder of the table.
pub(super) fn label_of<'a>(folder: &'a Path, path: &'a str) -> Option<&'a str> {
    let parents = path.rsplit_once('/').map_or(folder.as_ref(), |(parents, _)| parents);
    let label = parents.rsplit_once('/').map_or(parents, |(_, last)| last);
    (!label.is_empty()).then_some(label)
}

/// The parts of a file that a query needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Only the path.
    Name,
    /// Width, height or format, but not the image.
    Header,
    /// The whole file.
    Bytes,
}

/// A row.
#[derive(Debug, Default)]
pub(super) struct ImageRow {
    pub(super) path: String,
    pub(super) image: Option<Bytes>,
    pub(super) info: Option<ImageInfo>,
    /// Number of bytes read.
    pub(super) bytes_read: usize,
}

/// Reads the needed parts of a file.
///
/// # Errors
/// Returns an error if a listed file cannot be read.
pub(super) async fn read_file(
    store: &dyn ObjectStore,
    folder: &Path,
    path: String,
    size: u64,
    wanted: Wanted,
) -> Result<ImageRow> {
    if wanted == Wanted::Name {
        return Ok(ImageRow { path, ..ImageRow::default() });
    }
    if size > IMAGE_BYTES_MAX {
        tracing::warn!(path, size, limit = IMAGE_BYTES_MAX, "skipping file: too large for an image");
        return Ok(ImageRow { path, ..ImageRow::default() });
    }
    let object = match folder.as_ref() {
        "" => Path::parse(&path),
        folder => Path::parse(format!("{folder}/{path}")),
    }
    .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let gone = |error: datafusion::object_store::Error| {
        let what = format!(
            "cannot read {object}, which was listed; if files were moved or deleted meanwhile, run the query again"
        );
        DataFusionError::from(error).context(what)
    };
    if wanted == Wanted::Header && size > HEADER_BYTES {
        let head = store.get_range(&object, 0..HEADER_BYTES).await.map_err(gone)?;
        if let Ok(info) = probe(&head) {
            return Ok(ImageRow { path, info: Some(info), bytes_read: head.len(), image: None });
        }
    }
    let bytes = store.get(&object).await.map_err(gone)?.bytes().await.map_err(gone)?;
    let (info, bytes_read) = (probe(&bytes).ok(), bytes.len());
    Ok(ImageRow { path, info, bytes_read, image: (wanted == Wanted::Bytes).then_some(bytes) })
}
