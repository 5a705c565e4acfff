//! The tables that every client of a scheduler sees: those of a folder, or of a catalog file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use serde::Deserialize;
use tusk_udfs::images_table::ImagesTable;

use crate::error::{Error, Result};

/// The most tables of a catalog.
const TABLES_MAX: usize = 10_000;

/// How a table is stored.
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

/// Where the server's tables come from. It is read anew for every session, so new files appear without a restart.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    source: Option<PathBuf>,
}

impl Catalog {
    /// The catalog of a folder (every Parquet or CSV file in it, every folder of Parquet files, every folder of
    /// images), or of a TOML file with `[tables.NAME]`, `location` and `format` (`parquet`, `csv` or `images`).
    ///
    /// # Errors
    /// When there is no such folder or file, or the file is not of that form.
    pub fn open(source: &Path) -> Result<Self> {
        let catalog = Self { source: Some(source.to_owned()) };
        catalog.entries()?;
        Ok(catalog)
    }

    /// Registers all tables with a session.
    ///
    /// # Errors
    /// When the folder or file cannot be read. A table that cannot be read is left out with a warning.
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
                tracing::warn!(table = name, location = entry.location, %error, "skipping table");
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

/// A folder is a table of its Parquet files, or else of the images in the folders below it.
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
    async fn a_folder_is_a_catalog_and_new_files_appear() {
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
    fn a_catalog_that_is_none_says_why() {
        let error = Catalog::open(Path::new("/no/such/catalog.toml")).unwrap_err().to_string();
        assert!(error.starts_with("the scheduler cannot start: --data /no/such/catalog.toml: "), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[tables.x]\nlocation = \"x\"\nformat = \"orc\"\n").unwrap();
        let error = Catalog::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("unknown variant `orc`"), "{error}");
    }
}
