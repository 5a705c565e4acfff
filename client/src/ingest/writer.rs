//! Writes rows to a Parquet file that appears only when it is complete.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;
use tempfile::NamedTempFile;

use super::IngestError;

/// The offsets of a batch fit into 31 bits, with images of up to 128 MiB.
const ROW_GROUP_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The number of values between checks of a page's size. With the default of 1024, a page would hold 1024 images.
const VALUES_PER_PAGE_CHECK: usize = 16;

/// A row of the output.
pub(super) struct Row {
    pub(super) path: String,
    pub(super) image: Vec<u8>,
    pub(super) label: String,
    pub(super) group: Option<String>,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) format: &'static str,
}

/// Collects rows and writes them, one row group at a time, to a temporary file beside the output. The temporary file is
/// deleted if the writer is dropped before [`ImageWriter::finish`].
pub(super) struct ImageWriter {
    writer: ArrowWriter<NamedTempFile>,
    schema: SchemaRef,
    rows: Vec<Row>,
    bytes: usize,
    row_group_bytes: usize,
    out: PathBuf,
}

impl ImageWriter {
    /// # Errors
    /// When the output is a folder, or no file can be created beside it.
    pub(super) fn create(out: &Path, row_group_bytes: usize) -> Result<Self, IngestError> {
        let refuse = |source| IngestError::Output { path: out.to_owned(), source };
        if out.is_dir() {
            return Err(refuse(io::Error::new(io::ErrorKind::IsADirectory, "is a folder; give a file name")));
        }
        let Some(name) = out.file_name() else {
            return Err(refuse(io::Error::new(io::ErrorKind::InvalidInput, "it has no file name")));
        };
        let prefix = format!(".{}.", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // Temporary files are private by default. The output gets the permissions of the umask, so that every node can
        // read it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder_of(out)).map_err(refuse)?;
        let schema = schema();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()))
            .map_err(|source| IngestError::Parquet { path: out.to_owned(), source })?;
        let row_group_bytes = row_group_bytes.clamp(1, ROW_GROUP_BYTES_MAX);
        Ok(Self { writer, schema, rows: Vec::new(), bytes: 0, row_group_bytes, out: out.to_owned() })
    }

    /// Adds a row, and writes a row group if it is large enough.
    pub(super) fn write(&mut self, row: Row) -> Result<(), IngestError> {
        self.bytes = self.bytes.saturating_add(row.image.len());
        self.rows.push(row);
        if self.bytes >= self.row_group_bytes { self.flush() } else { Ok(()) }
    }

    /// Completes the file, moves it to its path, and returns its length in bytes.
    pub(super) fn finish(mut self) -> Result<u64, IngestError> {
        self.flush()?;
        let Self { writer, out, .. } = self;
        let file = writer.into_inner().map_err(|source| IngestError::Parquet { path: out.clone(), source })?;
        put_in_place(file, &out).map_err(|source| IngestError::Output { path: out, source })
    }

    fn flush(&mut self) -> Result<(), IngestError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let written = batch(&self.schema, rows).and_then(|batch| {
            self.writer.write(&batch)?;
            drop(batch);
            self.writer.flush()
        });
        written.map_err(|source| IngestError::Parquet { path: self.out.clone(), source })
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("image", DataType::Binary, false),
        Field::new("label", DataType::Utf8, false),
        Field::new("group", DataType::Utf8, true),
        Field::new("width", DataType::Int32, false),
        Field::new("height", DataType::Int32, false),
        Field::new("format", DataType::Utf8, false),
    ]))
}

/// Images are already compressed, rarely equal, and have no order. Compression, dictionaries and statistics would cost
/// time and space, and the statistics would put two images into the footer of every row group.
fn properties() -> WriterProperties {
    let image = ColumnPath::from("image");
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_column_compression(image.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(image.clone(), false)
        .set_column_statistics_enabled(image, EnabledStatistics::None)
        .set_write_batch_size(VALUES_PER_PAGE_CHECK)
        .build()
}

/// Converts the rows to a batch. It consumes them, so that the images are not held twice.
fn batch(schema: &SchemaRef, rows: Vec<Row>) -> Result<RecordBatch, ParquetError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path))),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.image))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.label))),
        Arc::new(rows.iter().map(|row| row.group.as_ref()).collect::<StringArray>()),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.width))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.height))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.format))),
    ];
    drop(rows);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn folder_of(out: &Path) -> &Path {
    out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the content, then renames, then syncs the folder. After a power failure there is either the old or the new
/// file.
fn put_in_place(file: NamedTempFile, out: &Path) -> io::Result<u64> {
    file.as_file().sync_all()?;
    let length = file.as_file().metadata()?.len();
    file.persist(out).map_err(|error| error.error)?;
    #[cfg(unix)]
    File::open(folder_of(out))?.sync_all()?;
    Ok(length)
}
