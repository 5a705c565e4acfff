//! Atomic reads and writes of files in an object store.

use std::fmt;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::location::{Opened, Secrets};
use super::retry::{Failure, Patience, Waiting, is_full};
use crate::error::{Error, Result};

/// Larger files are uploaded in parts of this size, because requests have a time limit.
const PART_BYTES: usize = 16 << 20;

/// Maximum number of concurrent parts.
const PARTS_AT_ONCE: usize = 4;

/// Suffix of files that are being written.
const UNFINISHED: &str = ".part";

/// The files of a store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Files {
    url: String,
    store: Arc<dyn ObjectStore>,
    root: Option<Arc<FsPath>>,
    secrets: Secrets,
    patience: Patience,
}

impl fmt::Debug for Files {
    // The `Debug` form of a store may contain its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Files {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened { url, store, root, secrets } = opened;
        let patience = if root.is_some() { Patience::local() } else { Patience::remote() };
        Self { url, store, root: root.map(Arc::from), secrets, patience }
    }

    /// Makes the same with another store and retry policy.
    #[cfg(test)]
    pub(super) fn with(
        mut self,
        wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
        patience: Patience,
    ) -> Self {
        self.store = wrap(self.store);
        self.patience = patience;
        self
    }

    /// Returns the same without retries.
    pub(super) fn without_patience(&self) -> Self {
        Self { patience: Patience::remote(), ..self.clone() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Reads a file, or returns `None` if it does not exist.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let read = || async { self.store.get(path).await?.bytes().await };
        match self.attempt("read", path, read).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(Failure { error: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            Err(failure) => Err(self.failed("read", path, failure)),
        }
    }

    /// Writes a file atomically: after a failure, it has either the old or the new content.
    pub(super) async fn write(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        let bytes = Bytes::from(bytes);
        let write = || async {
            match &self.root {
                Some(root) => self.replace(root, path, bytes.clone()).await,
                None if bytes.len() > PART_BYTES => self.upload(path, &bytes).await,
                None => self.store.put(path, PutPayload::from_bytes(bytes.clone())).await.map(drop),
            }
        };
        self.attempt("write", path, write).await.map_err(|failure| self.failed("write", path, failure))
    }

    /// Every file below a folder, sorted.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>> {
        let list = || self.store.list(Some(folder)).map_ok(|meta| meta.location).try_collect();
        let listed: Result<Vec<Path>, Failure> = self.attempt("list", folder, list).await;
        let mut paths = listed.map_err(|failure| self.failed("list", folder, failure))?;
        paths.sort();
        Ok(paths)
    }

    /// The folders in a folder.
    pub(super) async fn folders(&self, folder: &Path) -> Result<Vec<Path>> {
        let list = || self.store.list_with_delimiter(Some(folder));
        let listing = self.attempt("list", folder, list).await;
        Ok(listing.map_err(|failure| self.failed("list", folder, failure))?.common_prefixes)
    }

    /// Removes a file, which may already be missing.
    pub(super) async fn delete(&self, path: &Path) -> Result<()> {
        match self.attempt("delete", path, || self.store.delete(path)).await {
            Ok(()) | Err(Failure { error: object_store::Error::NotFound { .. }, .. }) => Ok(()),
            Err(failure) => Err(self.failed("delete", path, failure)),
        }
    }

    /// Removes the remains of interrupted writes in a folder. Only the process that writes to the folder may call this.
    pub(super) async fn sweep(&self, folder: &Path) {
        let Some(root) = &self.root else { return };
        let folder = root.join(folder.as_ref());
        // A failure is ignored: the next call tries again.
        drop(tokio::task::spawn_blocking(move || remove_unfinished(&folder)).await);
    }

    async fn attempt<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        let hears = |waiting: Waiting<'_>| match waiting {
            Waiting::Again { attempt, wait, error } => {
                let (error, wait_ms) = (self.secrets.redact(&error.to_string()), wait.as_millis());
                tracing::warn!(store = %self.url, action, %path, attempt, wait_ms, %error, "the model store failed; retrying");
            }
            Waiting::Slow { waited } => {
                let seconds = waited.as_secs();
                tracing::warn!(store = %self.url, action, %path, seconds, "the model store does not answer; retrying");
            }
        };
        self.patience.run(work, hears).await
    }

    /// Writes a temporary file, syncs it and renames it. Without the sync, a power failure could lose the content and
    /// keep the rename.
    async fn replace(&self, root: &FsPath, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let staged = Path::from(format!("{path}.{:x}-{number}{UNFINISHED}", std::process::id()));
        let replaced = async {
            self.store.put(&staged, PutPayload::from_bytes(bytes)).await?;
            sync(root.join(staged.as_ref())).await?;
            self.store.rename(&staged, path).await
        }
        .await;
        if replaced.is_err() {
            drop(self.store.delete(&staged).await);
        } else if let Some(folder) = root.join(path.as_ref()).parent() {
            // Some file systems cannot sync folders. They do not need it.
            drop(sync(folder.to_owned()).await);
        }
        replaced
    }

    async fn upload(&self, path: &Path, bytes: &Bytes) -> object_store::Result<()> {
        let mut upload = self.store.put_multipart(path).await?;
        let parts = (0..bytes.len()).step_by(PART_BYTES).map(|start| {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            upload.put_part(PutPayload::from_bytes(part))
        });
        let sent = futures::stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_collect::<Vec<()>>().await;
        let done = match sent {
            Ok(_) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if done.is_err() {
            drop(upload.abort().await);
        }
        done
    }

    fn failed(&self, action: &'static str, path: &Path, failure: Failure) -> Error {
        let Failure { attempts, error } = failure;
        let advice = match &error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                "Give this user the right to do so, or choose another --store"
            }
            error if is_full(error) => {
                "The disk is full: free space, then run the statement with resume = true; the last checkpoint is whole"
            }
            _ if action == "write" => "Check its free space and its rights, then run the statement with resume = true",
            _ if self.root.is_none() => {
                "Check that it can be reached, and the AWS_*, GOOGLE_* or AZURE_* variables of this process"
            }
            _ => "Check that it can be reached",
        };
        let source = Box::new(self.secrets.redact_error(error));
        Error::Store { store: self.url.clone(), action, path: path.to_string(), attempts, advice, source }
    }
}

/// Syncs the file to disk.
async fn sync(path: PathBuf) -> object_store::Result<()> {
    let synced = tokio::task::spawn_blocking(move || std::fs::File::open(path)?.sync_all()).await;
    let synced = synced.map_err(io::Error::other).and_then(|synced| synced);
    synced.map_err(|e| object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(e) })
}

fn remove_unfinished(folder: &FsPath) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // LocalFileSystem itself adds #1 while it writes.
        let is_unfinished =
            name.to_str().is_some_and(|name| name.split('#').next().unwrap_or("").ends_with(UNFINISHED));
        if is_unfinished && std::fs::remove_file(entry.path()).is_ok() {
            tracing::info!(file = %entry.path().display(), "removed the remains of an interrupted write");
        }
    }
    Ok(())
}
