//! Converts folders of image files to one Parquet file.
//!
//! Object stores and distributed scans work best with a few large files, and training needs rows in random order. So
//! the files are shuffled by a seed and written as row groups of a size that one worker reads at once. Memory holds the
//! file names and about two row groups.
//!
//! | column | type | |
//! |---|---|---|
//! | path | Utf8 | relative to the given folder, with parts joined by `/` |
//! | image | Binary | the bytes of the file, without further compression |
//! | label | Utf8 | the name of the file's folder |
//! | group | Utf8, may be NULL | the match of the group regex in the file name: the patient |
//! | width, height | Int32 | pixels, after orientation |
//! | format | Utf8 | `jpeg`, `png`, ... from the bytes, not from the name |
//!
//! The same folders, seed and version of Tusk give the same bytes. The output replaces an existing file only when it is
//! complete. After a failure, the existing file is unchanged.

mod error;
#[cfg(feature = "embedded")]
mod shortcuts;
mod summary;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use regex::Regex;
use tusk_pixels::probe;
use tusk_udfs::images_table::IMAGE_BYTES_MAX;

pub use error::IngestError;
#[cfg(feature = "embedded")]
pub use shortcuts::{ShortcutSummary, shortcuts};
pub use summary::{IngestSummary, Refused};
use walk::{Found, Walk};
use writer::{ImageWriter, Row};

/// The options of an ingest.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Folders that contain the images, at any depth. Hidden files and folders are skipped.
    pub dirs: Vec<PathBuf>,
    /// The Parquet file to write. An existing file is replaced when the new one is complete.
    pub out: PathBuf,
    /// Finds the group of a row in its file name: the first capture group, or the whole match if there is none.
    pub group_regex: Option<Regex>,
    /// The seed of the row order.
    pub seed: u64,
    /// The approximate size of a row group, in bytes of images. At most 1 GiB.
    pub row_group_bytes: usize,
}

impl IngestOptions {
    /// Options with seed 42 and row groups of 16 MiB, without groups.
    pub fn new(dirs: impl IntoIterator<Item = impl Into<PathBuf>>, out: impl Into<PathBuf>) -> Self {
        Self {
            dirs: dirs.into_iter().map(Into::into).collect(),
            out: out.into(),
            group_regex: None,
            seed: 42,
            row_group_bytes: 16 * 1024 * 1024,
        }
    }
}

/// The progress of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestProgress {
    /// The number of processed files, including refused ones.
    pub files: usize,
    /// The number of all files.
    pub total: usize,
    /// The bytes of the accepted images.
    pub bytes: u64,
}

/// Writes the images in some folders to a Parquet file. `progress` is called after each file.
///
/// A file that is not a readable image is refused: it is left out, counted, and listed in the summary with the reason.
///
/// # Errors
/// When a folder does not exist, no image is found, or the output cannot be written. No partial output is left.
pub fn ingest(options: &IngestOptions, progress: &mut dyn FnMut(IngestProgress)) -> Result<IngestSummary, IngestError> {
    let start = Instant::now();
    let mut writer = ImageWriter::create(&options.out, options.row_group_bytes)?;
    let Walk { files, unreadable } = walk::walk(&options.dirs, &options.out, options.seed)?;
    let mut tally = Tally { summary: IngestSummary::of(&options.out), ..Tally::default() };
    unreadable.into_iter().for_each(|refused| tally.summary.refuse(refused));
    let total = files.len();
    for (index, file) in files.iter().enumerate() {
        let root = options.dirs.get(file.root).map_or(Path::new(""), PathBuf::as_path);
        match read_image(&root.join(&file.relative)) {
            Ok(Image { bytes: image, width, height, format }) => {
                let name = file.relative.file_name().unwrap_or_default().to_string_lossy();
                let group = options.group_regex.as_ref().map(|regex| group_of(regex, &name));
                tally.count(file, &image, group.as_ref());
                writer.write(Row {
                    path: file.path(),
                    image,
                    label: file.label.to_string(),
                    group: group.flatten(),
                    width,
                    height,
                    format,
                })?;
            }
            Err(reason) => tally.summary.refuse(Refused { path: file.path(), reason }),
        }
        progress(IngestProgress { files: index + 1, total, bytes: tally.summary.bytes });
    }
    let Tally { mut summary, groups, .. } = tally;
    if summary.rows == 0 {
        let first_refused = summary.refused.into_iter().next();
        return Err(IngestError::NoImages { dirs: options.dirs.clone(), files: total, first_refused });
    }
    summary.file_bytes = writer.finish()?;
    summary.groups = groups.len();
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// The summary so far, and the data for its counts.
#[derive(Default)]
struct Tally {
    summary: IngestSummary,
    groups: BTreeSet<String>,
    /// The label of the first image with each content.
    contents: HashMap<[u8; 32], Arc<str>>,
}

impl Tally {
    /// Counts a row. `group` is `None` without a regex, and `Some(None)` if the regex did not match.
    fn count(&mut self, file: &Found, image: &[u8], group: Option<&Option<String>>) {
        let summary = &mut self.summary;
        summary.rows += 1;
        summary.bytes += image.len() as u64;
        *summary.classes.entry(file.label.to_string()).or_default() += 1;
        match group {
            Some(Some(group)) if !self.groups.contains(group) => {
                self.groups.insert(group.clone());
            }
            Some(None) => summary.unmatched_groups += 1,
            _ => {}
        }
        let content = *blake3::hash(image).as_bytes();
        let first = self.contents.entry(content);
        if let Entry::Occupied(first) = &first {
            summary.duplicates += 1;
            summary.conflicting_duplicates += usize::from(*first.get() != file.label);
        }
        first.or_insert_with(|| Arc::clone(&file.label));
    }
}

/// The match of a group regex in a file name.
fn group_of(regex: &Regex, name: &str) -> Option<String> {
    let captures = regex.captures(name)?;
    captures.get(1).or_else(|| captures.get(0)).map(|found| found.as_str().to_owned())
}

/// A file that is a readable image.
struct Image {
    bytes: Vec<u8>,
    width: i32,
    height: i32,
    format: &'static str,
}

/// Reads a file and its image header, or returns why it is refused.
fn read_image(path: &Path) -> Result<Image, String> {
    let mut bytes = Vec::new();
    File::open(path)
        // Reads one byte more than the limit, which detects a file that is too large even while it grows.
        .and_then(|file| file.take(IMAGE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > IMAGE_BYTES_MAX {
        return Err(format!("larger than the maximum of {IMAGE_BYTES_MAX} bytes"));
    }
    let info = probe(&bytes).map_err(|error| error.to_string())?;
    let side = |value: u32| i32::try_from(value).map_err(|_| format!("a side of {value} pixels is too long"));
    Ok(Image { bytes, width: side(info.width)?, height: side(info.height)?, format: info.format })
}
