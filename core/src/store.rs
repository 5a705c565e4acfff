//! Where models live: a folder, or any object store.
//!
//! ```text
//! models/NAME/manifest.json            the published model; replaced atomically, always last
//! models/NAME/weights-HASH.safetensors its weights, named by their content
//! runs/NAME/run.json                   the last run: enough to resume it
//! runs/NAME/request.bin                what it was asked to do: enough to resume it without being asked again
//! runs/NAME/epoch-00007.safetensors    weights and optimizer moments after an epoch
//! ```

use std::path::Path as FsPath;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::error::{Error, Result, nearest};
use crate::ids::ModelName;
use crate::manifest::{FileRef, Manifest, RunRecord};
use crate::state::{ModelState, checksum};

/// A model store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelStore {
    url: String,
    store: Arc<dyn ObjectStore>,
}

impl ModelStore {
    /// Opens the store at a path (created where it is missing) or a URL.
    ///
    /// # Errors
    /// [`Error::InvalidStore`] when the folder cannot be made or the URL is not understood.
    pub fn open(location: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidStore { url: location.to_owned(), reason };
        let path = match location.strip_prefix("file://") {
            Some(path) => path,
            None if location.contains("://") => return Self::open_url(location),
            None => location,
        };
        std::fs::create_dir_all(path)
            .map_err(|e| invalid(format!("the folder cannot be made ({e}); give --store a folder you may write to")))?;
        let path = FsPath::new(path).canonicalize().map_err(|e| invalid(e.to_string()))?;
        let store =
            LocalFileSystem::new_with_prefix(&path).map_err(|e| invalid(e.to_string()))?.with_automatic_cleanup(true);
        Ok(Self { url: format!("file://{}", path.display()), store: Arc::new(store) })
    }

    fn open_url(location: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidStore { url: location.to_owned(), reason };
        let url = url::Url::parse(location).map_err(|e| invalid(e.to_string()))?;
        let (store, prefix) = object_store::parse_url(&url).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { url: location.to_owned(), store: Arc::new(PrefixStore::new(store, prefix)) })
    }

    /// The store's URL, which any process can open.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The published model of this name.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] with the nearest name, [`Error::Damaged`], [`Error::Store`].
    pub async fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        let Some(manifest) = self.find_manifest(name).await? else {
            let names = self.model_names().await?;
            return Err(Error::ModelNotFound {
                name: name.to_string(),
                store: self.url.clone(),
                suggestion: nearest(name.as_str(), names.iter().map(ModelName::as_str)),
            });
        };
        Ok(manifest)
    }

    /// The published model of this name, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Store`].
    pub async fn find_manifest(&self, name: &ModelName) -> Result<Option<Manifest>> {
        self.read_json(&manifest_path(name)).await
    }

    /// Every published model, by name.
    ///
    /// # Errors
    /// [`Error::Store`]; a damaged manifest is passed over with a warning.
    pub async fn manifests(&self) -> Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        for name in self.model_names().await? {
            match self.find_manifest(&name).await {
                Ok(manifest) => manifests.extend(manifest),
                Err(error @ Error::Damaged { .. }) => tracing::warn!(model = %name, %error, "model left out"),
                Err(error) => return Err(error),
            }
        }
        Ok(manifests)
    }

    /// The names of all published models, sorted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn model_names(&self) -> Result<Vec<ModelName>> {
        self.names_below(&Path::from("models")).await
    }

    async fn names_below(&self, folder: &Path) -> Result<Vec<ModelName>> {
        let listing = self.store.list_with_delimiter(Some(folder)).await;
        let listing = listing.map_err(|e| self.failed("list", folder, e))?;
        let mut names: Vec<ModelName> =
            listing.common_prefixes.iter().filter_map(|p| ModelName::new(p.filename()?).ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Publishes a model: weights first, manifest last, then the weights it replaces go.
    ///
    /// # Errors
    /// [`Error::Store`]; the model that was there before is then untouched.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> {
        self.write_json(&manifest_path(&manifest.name), manifest).await?;
        let folder = Path::from(format!("models/{}", manifest.name));
        for path in self.list(&folder).await? {
            if path.extension() == Some("safetensors") && path.as_ref() != manifest.weights.path {
                self.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Writes the weights of a model that is about to be published, under a name made of their content.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_weights(&self, name: &ModelName, state: &ModelState) -> Result<FileRef> {
        let bytes = state.to_safetensors()?;
        let checksum = checksum(&bytes);
        let path = Path::from(format!("models/{name}/weights-{}.safetensors", &checksum[..16]));
        self.write(&path, bytes).await?;
        Ok(FileRef { path: path.to_string(), checksum })
    }

    /// Reads a tensor file and checks it.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the checksums, [`Error::Store`].
    pub async fn read_state(&self, file: &FileRef) -> Result<ModelState> {
        let path = Path::from(file.path.as_str());
        let Some(bytes) = self.read(&path).await? else {
            return Err(Error::Damaged { path: file.path.clone(), reason: "it is missing".into() });
        };
        ModelState::from_safetensors(&file.path, &bytes, &file.checksum)
    }

    /// Removes a model and its runs; false when there was none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn drop_model(&self, name: &ModelName) -> Result<bool> {
        let manifest = manifest_path(name);
        let existed = self.read(&manifest).await?.is_some();
        if existed {
            // The manifest first: a half-removed model is then no model.
            self.delete(&manifest).await?;
        }
        for folder in [format!("models/{name}"), format!("runs/{name}")] {
            for path in self.list(&Path::from(folder)).await? {
                self.delete(&path).await?;
            }
        }
        Ok(existed)
    }

    /// The last run of this name.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Store`].
    pub async fn run(&self, name: &ModelName) -> Result<Option<RunRecord>> {
        self.read_json(&run_path(name)).await
    }

    /// Records how far a run is.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_run(&self, record: &RunRecord) -> Result<()> {
        self.write_json(&run_path(&record.model), record).await
    }

    /// Takes back the record of a run that came to nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_run(&self, name: &ModelName) -> Result<()> {
        for path in self.list(&Path::from(format!("runs/{name}"))).await? {
            self.delete(&path).await?;
        }
        Ok(())
    }

    /// The names of all models that have a run, sorted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn run_names(&self) -> Result<Vec<ModelName>> {
        self.names_below(&Path::from("runs")).await
    }

    /// Records what a run was asked to do.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_request(&self, name: &ModelName, request: Vec<u8>) -> Result<()> {
        self.write(&request_path(name), request).await
    }

    /// What the last run of this name was asked to do.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn request(&self, name: &ModelName) -> Result<Option<Vec<u8>>> {
        Ok(self.read(&request_path(name)).await?.map(Into::into))
    }

    /// Writes the checkpoint of an epoch.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_checkpoint(&self, name: &ModelName, epoch: u32, state: &ModelState) -> Result<FileRef> {
        let bytes = state.to_safetensors()?;
        let checksum = checksum(&bytes);
        let path = Path::from(format!("runs/{name}/epoch-{epoch:05}.safetensors"));
        self.write(&path, bytes).await?;
        Ok(FileRef { path: path.to_string(), checksum })
    }

    /// Removes a run's checkpoints but these.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_checkpoints(&self, name: &ModelName, keep: &[&FileRef]) -> Result<()> {
        for path in self.list(&Path::from(format!("runs/{name}"))).await? {
            if path.extension() == Some("safetensors") && !keep.iter().any(|file| file.path == path.as_ref()) {
                self.delete(&path).await?;
            }
        }
        Ok(())
    }

    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let found = async { self.store.get(path).await?.bytes().await }.await;
        match found {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", path, error)),
        }
    }

    async fn write(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        self.store.put(path, PutPayload::from(bytes)).await.map_err(|e| self.failed("write", path, e))?;
        Ok(())
    }

    async fn read_json<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let Some(bytes) = self.read(path).await? else { return Ok(None) };
        let damaged = |e: serde_json::Error| Error::Damaged { path: path.to_string(), reason: e.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    async fn write_json<T: serde::Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(value).map_err(|e| Error::Wire { what: "manifest", reason: e.to_string() })?;
        self.write(path, json).await
    }

    async fn list(&self, folder: &Path) -> Result<Vec<Path>> {
        let listing: Result<Vec<_>, _> = self.store.list(Some(folder)).map_ok(|meta| meta.location).try_collect().await;
        let mut paths = listing.map_err(|e| self.failed("list", folder, e))?;
        paths.sort();
        Ok(paths)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", path, error)),
        }
    }

    fn failed(&self, action: &'static str, path: &Path, source: object_store::Error) -> Error {
        let advice = match &source {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                "Give this user the right to do so, or choose another --store"
            }
            _ if action == "write" => "Check its free space and its rights, then run the statement with resume = true",
            _ => "Check that it can be reached",
        };
        let store = self.url.clone();
        Error::Store { store, action, path: path.to_string(), advice, source: Box::new(source) }
    }
}

fn manifest_path(name: &ModelName) -> Path {
    Path::from(format!("models/{name}/manifest.json"))
}

fn request_path(name: &ModelName) -> Path {
    Path::from(format!("runs/{name}/request.bin"))
}

fn run_path(name: &ModelName) -> Path {
    Path::from(format!("runs/{name}/run.json"))
}
