//! The tables that every client of a scheduler sees. They come from a folder or a catalog file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use serde::Deserialize;
use tusk_udfs::images_table::ImagesTable;

use crate::error::{Error, Result};

/// The maximum number of tables in a catalog.
const TABLES_MAX: usize = 10_000;

/// The storage format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Parquet,
    Csv,
    Images,
}

/// A table of the catalog file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    location: String,
    format: Format,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    tables: BTreeMap<String, Entry>,
}

/// The source of the scheduler's tables. It is read again for every session, so new files appear without a restart.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    source: Option<PathBuf>,
}

impl Catalog {
    /// Opens a catalog. The source is one of:
    ///
    /// * a folder: its tables are the Parquet files, the CSV files, the folders of Parquet files and the folders of
    ///   images in it
    /// * a TOML file: each table is a section `[tables.NAME]` with `location` and `format` (`parquet`, `csv` or
    ///   `images`)
    ///
    /// # Errors
    /// Returns an error if the folder or file does not exist, the file is not such a TOML file, or there are too many
    /// tables.
    pub fn open(source: &Path) -> Result<Self> {
        let catalog = Self { source: Some(source.to_owned()) };
        catalog.entries()?;
        Ok(catalog)
    }

    /// Registers all tables with a session. Skips a table that cannot be read, with a warning in the log.
    ///
    /// # Errors
    /// Returns an error if the folder or file of the catalog cannot be read.
    pub async fn register(&self, session: &SessionContext) -> Result<()> {
        for (name, entry) in self.entries()? {
            let table = datafusion::common::TableReference::bare(name.clone());
            let registered = match entry.format {
                Format::Parquet => {
                    session.register_parquet(table, &entry.location, ParquetReadOptions::default()).await
                }
                Format::Csv => session.register_csv(table, &entry.location, CsvReadOptions::default()).await,
                Format::Images => match ImagesTable::try_new(&entry.location) {
                    Ok(images) => session.register_table(table, Arc::new(images)).map(drop),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = registered {
                tracing::warn!(table = name, location = entry.location, %error, "skipped a table that cannot be read");
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<BTreeMap<String, Entry>> {
        let Some(source) = &self.source else { return Ok(BTreeMap::new()) };
        let failed = |reason: String| Error::Cluster { reason: format!("--data {}: {reason}", source.display()) };
        let entries = if source.is_dir() {
            of_folder(source).map_err(|e| failed(e.to_string()))?
        } else {
            let text = std::fs::read_to_string(source).map_err(|e| failed(e.to_string()))?;
            toml::from_str::<CatalogFile>(&text).map_err(|e| failed(e.to_string()))?.tables
        };
        if entries.len() > TABLES_MAX {
            return Err(failed(format!("{} tables; the maximum is {TABLES_MAX}", entries.len())));
        }
        Ok(entries)
    }
}

fn of_folder(folder: &Path) -> std::io::Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    for found in std::fs::read_dir(folder)? {
        let path = found?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_lowercase) else { continue };
        let format = if path.is_dir() { format_of_folder(&path)? } else { format_of_file(&path) };
        let is_hidden = name.starts_with('.');
        if let (Some(format), false) = (format, is_hidden) {
            let slash = if path.is_dir() { "/" } else { "" };
            entries.insert(name, Entry { location: format!("{}{slash}", path.display()), format });
        }
    }
    Ok(entries)
}

fn format_of_file(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_lowercase().as_str() {
        "parquet" => Some(Format::Parquet),
        "csv" => Some(Format::Csv),
        _ => None,
    }
}

/// Returns how a folder is read: as the Parquet files in it, otherwise as the images in its folders. `None` if it
/// contains neither.
fn format_of_folder(folder: &Path) -> std::io::Result<Option<Format>> {
    let mut has_folders = false;
    for found in std::fs::read_dir(folder)? {
        let path = found?.path();
        if format_of_file(&path) == Some(Format::Parquet) {
            return Ok(Some(Format::Parquet));
        }
        has_folders |= path.is_dir();
    }
    Ok(has_folders.then_some(Format::Images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_file_in_the_folder_becomes_a_table() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Wards.csv"), "patient,ward\n1,A\n2,B\n").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no table").unwrap();
        let catalog = Catalog::open(folder.path()).unwrap();
        let session = SessionContext::new();
        catalog.register(&session).await.unwrap();
        assert_eq!(session.sql("SELECT * FROM wards").await.unwrap().count().await.unwrap(), 2);
        std::fs::write(folder.path().join("more.csv"), "a\n1\n").unwrap();
        catalog.register(&session).await.unwrap();
        assert_eq!(session.sql("SELECT * FROM more").await.unwrap().count().await.unwrap(), 1);
    }

    #[test]
    fn an_invalid_catalog_is_refused_with_the_reason() {
        let error = Catalog::open(Path::new("/no/such/catalog.toml")).unwrap_err().to_string();
        assert!(error.starts_with("the scheduler cannot start: --data /no/such/catalog.toml: "), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[tables.x]\nlocation = \"x\"\nformat = \"orc\"\n").unwrap();
        let error = Catalog::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("unknown variant `orc`"), "{error}");
    }
}
