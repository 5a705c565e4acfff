//! The model store: a folder or an object store.
//!
//! ```text
//! models/NAME/manifest.json            the published model; replaced atomically, always last
//! models/NAME/weights-HASH.safetensors its weights, named by their content
//! models/NAME/evaluation-KIND.json     the last evaluation of a kind, such as a stress test
//! runs/NAME/run.json                   the last run: enough to resume it
//! runs/NAME/request.bin                what it was asked to do: enough to resume it without being asked again
//! runs/NAME/epoch-00007.safetensors    weights and optimizer moments after an epoch
//! runs/NAME/epoch-00008-part-0.safetensors   the same within an epoch
//! ```

mod files;
pub(crate) mod foreign;
mod location;
mod retry;
mod tables;

use object_store::path::Path;

use self::files::Files;
pub use self::foreign::read_weights;
pub use self::retry::{ATTEMPT_MAX_MS, ATTEMPTS_MAX, SLOW_MS, TOTAL_MAX_MS, WAIT_FIRST_MS, WAIT_MAX_MS};
pub use self::tables::{EnvironmentStores, table_runtime};
use crate::error::{Error, Result, nearest};
use crate::ids::ModelName;
use crate::manifest::{EvaluationKind, EvaluationRecord, FileRef, Manifest, RunRecord};
use crate::state::{ModelState, checksum};

/// A model store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelStore {
    files: Files,
}

impl ModelStore {
    /// Opens the store at a path (created where it is missing) or a URL: `s3://`, `gs://`, `az://`, `abfss://`, whose
    /// settings and keys are this process's `AWS_*`, `GOOGLE_*` and `AZURE_*` variables.
    ///
    /// # Errors
    /// [`Error::InvalidStore`] if the folder cannot be created, the URL is not supported, or it contains keys.
    pub fn open(location: &str) -> Result<Self> {
        Ok(Self { files: Files::new(location::open(location, &location::environment())?) })
    }

    /// The store's URL, which any process with the same settings can open.
    #[must_use]
    pub fn url(&self) -> &str {
        self.files.url()
    }

    /// Returns the same store without retries on a disk.
    #[must_use]
    pub fn without_patience(&self) -> Self {
        Self { files: self.files.without_patience() }
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
                store: self.url().to_owned(),
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
        self.read_json(&manifest_path(name), Manifest::check).await
    }

    /// Every published model, by name.
    ///
    /// # Errors
    /// [`Error::Store`]; damaged manifests are skipped with a warning.
    pub async fn manifests(&self) -> Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        for name in self.model_names().await? {
            match self.find_manifest(&name).await {
                Ok(manifest) => manifests.extend(manifest),
                Err(error @ Error::Damaged { .. }) => tracing::warn!(model = %name, %error, "skipped a damaged model"),
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
        let folders = self.files.folders(folder).await?;
        let mut names: Vec<ModelName> = folders.iter().filter_map(|p| ModelName::new(p.filename()?).ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Publishes a model: writes the weights, then the manifest, and then removes the replaced weights.
    ///
    /// # Errors
    /// [`Error::Data`] if the manifest is invalid, [`Error::Store`]. After an error, the previous model is unchanged.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> {
        manifest
            .check()
            .map_err(|reason| Error::Data { message: format!("'{}' cannot be published: {reason}", manifest.name) })?;
        self.write_json(&manifest_path(&manifest.name), manifest).await?;
        let folder = Path::from(format!("models/{}", manifest.name));
        for path in self.files.list(&folder).await? {
            if path.extension() == Some("safetensors") && path.as_ref() != manifest.weights.path {
                self.files.delete(&path).await?;
            }
        }
        self.files.sweep(&folder).await;
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
        self.files.write(&path, bytes).await?;
        Ok(FileRef { path: path.to_string(), checksum })
    }

    /// Reads a tensor file and checks it.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the checksums, [`Error::Store`].
    pub async fn read_state(&self, file: &FileRef) -> Result<ModelState> {
        let path = Path::from(file.path.as_str());
        let Some(bytes) = self.files.read(&path).await? else {
            return Err(Error::Damaged { path: file.path.clone(), reason: "it is missing".into() });
        };
        ModelState::from_safetensors(&file.path, &bytes, &file.checksum)
    }

    /// The last evaluation of this kind that was run on the model of this name. It may be of weights that are replaced.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Store`].
    pub async fn evaluation(&self, name: &ModelName, kind: EvaluationKind) -> Result<Option<EvaluationRecord>> {
        self.read_json(&evaluation_path(name, kind), EvaluationRecord::check).await
    }

    /// Writes the record of an evaluation, in place of the last one of its kind.
    ///
    /// # Errors
    /// [`Error::Data`] if the record is too large, [`Error::Store`].
    pub async fn write_evaluation(&self, name: &ModelName, record: &EvaluationRecord) -> Result<()> {
        record.check().map_err(|reason| Error::Data {
            message: format!("the evaluation of '{name}' cannot be kept: {reason}"),
        })?;
        self.write_json(&evaluation_path(name, record.kind()), record).await
    }

    /// Removes a model and its runs; false when there was none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn drop_model(&self, name: &ModelName) -> Result<bool> {
        let manifest = manifest_path(name);
        let existed = self.files.read(&manifest).await?.is_some();
        if existed {
            // Remove the manifest first, so that a partly removed model is not listed.
            self.files.delete(&manifest).await?;
        }
        for folder in [format!("models/{name}"), format!("runs/{name}")].map(Path::from) {
            self.files.sweep(&folder).await;
            for path in self.files.list(&folder).await? {
                self.files.delete(&path).await?;
            }
        }
        Ok(existed)
    }

    /// The last run of this name.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Store`].
    pub async fn run(&self, name: &ModelName) -> Result<Option<RunRecord>> {
        self.read_json(&run_path(name), RunRecord::check).await
    }

    /// Writes the record of a run.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_run(&self, record: &RunRecord) -> Result<()> {
        self.write_json(&run_path(&record.model), record).await
    }

    /// The names of all models that have a run, sorted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn run_names(&self) -> Result<Vec<ModelName>> {
        self.names_below(&Path::from("runs")).await
    }

    /// Writes the request of a run.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_request(&self, name: &ModelName, request: Vec<u8>) -> Result<()> {
        self.files.write(&request_path(name), request).await
    }

    /// Reads the request of the last run of this name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn request(&self, name: &ModelName) -> Result<Option<Vec<u8>>> {
        self.files.read(&request_path(name)).await
    }

    /// Writes the checkpoint of an epoch slice other than the last. It is needed until the next slice is trained.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_part(&self, name: &ModelName, epoch: u32, part: u32, state: &ModelState) -> Result<FileRef> {
        self.write_state(Path::from(format!("runs/{name}/epoch-{epoch:05}-part-{part}.safetensors")), state).await
    }

    /// Writes the checkpoint of an epoch.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn write_checkpoint(&self, name: &ModelName, epoch: u32, state: &ModelState) -> Result<FileRef> {
        self.write_state(Path::from(format!("runs/{name}/epoch-{epoch:05}.safetensors")), state).await
    }

    async fn write_state(&self, path: Path, state: &ModelState) -> Result<FileRef> {
        let bytes = state.to_safetensors()?;
        let checksum = checksum(&bytes);
        self.files.write(&path, bytes).await?;
        Ok(FileRef { path: path.to_string(), checksum })
    }

    /// Removes all checkpoints of a run except these.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_checkpoints(&self, name: &ModelName, keep: &[&FileRef]) -> Result<()> {
        let folder = Path::from(format!("runs/{name}"));
        self.files.sweep(&folder).await;
        for path in self.files.list(&folder).await? {
            if path.extension() == Some("safetensors") && !keep.iter().any(|file| file.path == path.as_ref()) {
                self.files.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Reads and checks a JSON file. Files are not trusted: a modified file could contain any number of workers.
    async fn read_json<T: serde::de::DeserializeOwned>(
        &self,
        path: &Path,
        check: fn(&T) -> Result<(), String>,
    ) -> Result<Option<T>> {
        let Some(bytes) = self.files.read(path).await? else { return Ok(None) };
        let damaged = |reason: String| Error::Damaged { path: path.to_string(), reason };
        let value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        check(&value).map_err(damaged)?;
        Ok(Some(value))
    }

    async fn write_json<T: serde::Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(value).map_err(|e| Error::Wire { what: "manifest", reason: e.to_string() })?;
        self.files.write(path, json).await
    }
}

fn manifest_path(name: &ModelName) -> Path {
    Path::from(format!("models/{name}/manifest.json"))
}

fn evaluation_path(name: &ModelName, kind: EvaluationKind) -> Path {
    Path::from(format!("models/{name}/evaluation-{}.json", kind.name()))
}

fn request_path(name: &ModelName) -> Path {
    Path::from(format!("runs/{name}/request.bin"))
}

fn run_path(name: &ModelName) -> Path {
    Path::from(format!("runs/{name}/run.json"))
}

#[cfg(test)]
mod tests;
