//! The errors of an ingest.

use std::path::PathBuf;

use datafusion::parquet::errors::ParquetError;

use super::Refused;

/// Why an ingest failed. An existing output file is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// No folder was given.
    #[error("no folder given; for example: tusk ingest chest_xray/train --out xrays.parquet")]
    NoDirs,
    /// A folder does not exist or cannot be read.
    #[error("cannot read the folder {}: {reason}. Check its spelling and permissions", path.display())]
    Dir {
        /// The folder, as given.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// The folders contain no image.
    #[error("no images found in {}: {}", list(dirs), no_images(*files, first_refused.as_ref()))]
    NoImages {
        /// The folders.
        dirs: Vec<PathBuf>,
        /// The number of files in them.
        files: usize,
        /// The first file that was refused.
        first_refused: Option<Refused>,
    },
    /// The output cannot be created, completed or moved to its path.
    #[error("cannot write {}: {source}. Check that its folder exists, is writable and has free space", path.display())]
    Output {
        /// The path of the output.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The Parquet writer failed, usually because the disk is full.
    #[error("cannot write {}: {source}. Check the free space of its disk", path.display())]
    Parquet {
        /// The path of the output.
        path: PathBuf,
        /// The error of the writer.
        source: ParquetError,
    },
}

fn list(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn no_images(files: usize, first_refused: Option<&Refused>) -> String {
    match first_refused {
        None => "only hidden files. Give the folder that contains one folder per class".to_owned(),
        Some(Refused { path, reason }) => {
            format!("none of {files} files is an image that Tusk reads; for example {path}: {reason}")
        }
    }
}
