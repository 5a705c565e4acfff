//! Why an ingest fails as a whole.

use std::path::PathBuf;

use datafusion::parquet::errors::ParquetError;

use super::Refused;

/// Why nothing was ingested. What was at the output before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// No folder was given.
    #[error("no folder given; for example: tusk ingest chest_xray/train --out xrays.parquet")]
    NoDirs,
    /// A folder that is not there, or no folder.
    #[error("cannot read the folder {}: {reason}. Check its spelling and permissions", path.display())]
    Dir {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No file was an image.
    #[error("no images found in {}: {}", list(dirs), no_images(*files, first_refused.as_ref()))]
    NoImages {
        /// The folders.
        dirs: Vec<PathBuf>,
        /// How many files were found.
        files: usize,
        /// The first of them that was refused.
        first_refused: Option<Refused>,
    },
    /// The output cannot be created, completed or put in its place.
    #[error("cannot write {}: {source}. Check that its folder exists, is writable and has free space", path.display())]
    Output {
        /// The file to write.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The Parquet writer failed; mostly a full disk.
    #[error("cannot write {}: {source}. Check the free space of its disk", path.display())]
    Parquet {
        /// The file to write.
        path: PathBuf,
        /// The writer's words.
        source: ParquetError,
    },
}

fn list(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn no_images(files: usize, first_refused: Option<&Refused>) -> String {
    match first_refused {
        None => "only hidden files. Give the folder that contains the classes' folders".to_owned(),
        Some(Refused { path, reason }) => {
            format!("none of {files} files is an image that Tusk reads; for example {path}: {reason}")
        }
    }
}
