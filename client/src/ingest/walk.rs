//! Lists the image files in the order of the rows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};
use walkdir::{DirEntry, WalkDir};

use super::{IngestError, Refused};

/// A file in one of the folders.
pub(super) struct Found {
    /// The index of the folder.
    pub(super) root: usize,
    /// The path relative to that folder.
    pub(super) relative: PathBuf,
    /// The name of the folder that contains the file. It is shared, because there are few.
    pub(super) label: Arc<str>,
}

impl Found {
    /// The path relative to the folder, joined by `/` on every system.
    pub(super) fn path(&self) -> String {
        slashed(&self.relative)
    }
}

/// All files, shuffled, and the paths that cannot be read.
pub(super) struct Walk {
    pub(super) files: Vec<Found>,
    pub(super) unreadable: Vec<Refused>,
}

/// Walks the folders. Links are followed. Hidden files and folders, and the output itself, are skipped.
pub(super) fn walk(dirs: &[PathBuf], out: &Path, seed: u64) -> Result<Walk, IngestError> {
    if dirs.is_empty() {
        return Err(IngestError::NoDirs);
    }
    let out = out.canonicalize().ok();
    let mut labels = Labels::default();
    let mut walk = Walk { files: Vec::new(), unreadable: Vec::new() };
    for (root, dir) in dirs.iter().enumerate() {
        let refuse = |error: std::io::Error| IngestError::Dir { path: dir.clone(), reason: error.to_string() };
        std::fs::read_dir(dir).map_err(refuse)?;
        // Files directly in the given folder have its name as label, even if it was given as "." or "..".
        let name = dir.canonicalize().map_err(refuse)?;
        let visible = |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
        let entries = WalkDir::new(dir).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible);
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().map_or_else(String::new, |path| slashed(below(path, dir)));
                    walk.unreadable.push(Refused { path, reason: format!("cannot be read: {error}") });
                    continue;
                }
            };
            if !entry.file_type().is_file() || is_output(&entry, out.as_deref()) {
                continue;
            }
            let relative = below(entry.path(), dir).to_owned();
            let folder = relative.parent().and_then(Path::file_name).or_else(|| name.file_name());
            let label = labels.shared(&folder.unwrap_or_default().to_string_lossy());
            walk.files.push(Found { root, relative, label });
        }
    }
    shuffle(&mut walk.files, seed);
    Ok(walk)
}

fn is_output(entry: &DirEntry, out: Option<&Path>) -> bool {
    out.is_some_and(|out| {
        out.file_name() == Some(entry.file_name()) && entry.path().canonicalize().is_ok_and(|p| p == out)
    })
}

fn below<'a>(path: &'a Path, dir: &Path) -> &'a Path {
    path.strip_prefix(dir).unwrap_or(path)
}

/// A path as text with `/` between its parts. Invalid Unicode becomes U+FFFD.
fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Shuffles by Fisher-Yates. The bias of the remainder is negligible (2^-40 for a million files).
fn shuffle(files: &mut [Found], seed: u64) {
    let mut random = Pcg64::seed_from_u64(seed);
    for last in (1..files.len()).rev() {
        files.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// The labels, each stored once.
#[derive(Default)]
struct Labels(HashMap<String, Arc<str>>);

impl Labels {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(label) = self.0.get(name) {
            return Arc::clone(label);
        }
        let label: Arc<str> = Arc::from(name);
        self.0.insert(name.to_owned(), Arc::clone(&label));
        label
    }
}
