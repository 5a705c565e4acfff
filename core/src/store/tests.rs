//! Tests with a failing store over a real folder.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result as StoreResult,
};

use super::retry::Patience;
use super::*;
use crate::ids::RunId;
use crate::manifest::{DataProfile, EvaluationResult, ModelDefinition, Preprocessing, RunStatus, Timing};
use crate::options::{Architecture, Loss, ModelSpec, Precision};
use crate::state::NamedTensor;

const EACCES: i32 = 13;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;

/// Operations that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Get,
    Put,
    Rename,
    List,
    Delete,
}

/// A real store whose first `failures` calls of one operation fail with an error of the system.
#[derive(Debug)]
struct Failing {
    inner: Arc<dyn ObjectStore>,
    operation: Operation,
    code: i32,
    failures: Arc<AtomicU32>,
    /// Where a write that fails leaves a torn file, as LocalFileSystem would name it.
    root: PathBuf,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failing({})", self.inner)
    }
}

impl Failing {
    fn may(&self, operation: Operation) -> StoreResult<()> {
        let spend = |left: u32| left.checked_sub(1);
        if operation != self.operation
            || self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err()
        {
            return Ok(());
        }
        let source = Box::new(io::Error::from_raw_os_error(self.code));
        Err(object_store::Error::Generic { store: "LocalFileSystem", source })
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        if let Err(error) = self.may(Operation::Put) {
            let torn = self.root.join(format!("{path}#1"));
            std::fs::create_dir_all(torn.parent().unwrap()).unwrap();
            std::fs::write(torn, b"half of it").unwrap();
            return Err(error);
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.may(Operation::Put)?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.may(Operation::Get)?;
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<bytes::Bytes>> {
        self.may(Operation::Get)?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        match self.may(Operation::Delete) {
            Ok(()) => self.inner.delete_stream(paths),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.may(Operation::List) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.may(Operation::List)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.may(Operation::Rename)?;
        self.inner.rename_opts(from, to, options).await
    }
}

/// A folder and failing stores over it.
struct Fixture {
    folder: tempfile::TempDir,
    name: ModelName,
}

fn quick(attempts: u32) -> Patience {
    Patience { attempts, wait_first: Duration::from_millis(1), wait_max: Duration::from_millis(4), ..Patience::local() }
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), name: ModelName::new("m").unwrap() }
    }

    fn store(&self) -> ModelStore {
        ModelStore::open(self.folder.path().to_str().unwrap()).unwrap()
    }

    /// A store whose next `failures` calls of an operation fail; how many of these are left.
    fn failing(&self, operation: Operation, code: i32, failures: u32) -> (ModelStore, Arc<AtomicU32>) {
        let left = Arc::new(AtomicU32::new(failures));
        let (failures, root) = (Arc::clone(&left), self.folder.path().to_owned());
        let wrap = |inner| -> Arc<dyn ObjectStore> { Arc::new(Failing { inner, operation, code, failures, root }) };
        (ModelStore { files: self.store().files.with(wrap, quick(5)) }, left)
    }

    /// Everything in a folder of the store, sorted.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Writes an epoch as a run does: the checkpoint, the record, then the old checkpoints go.
    async fn epoch(&self, store: &ModelStore, epoch: u32) -> Result<()> {
        let file = store.write_checkpoint(&self.name, epoch, &state(epoch)).await?;
        store.write_run(&record(&self.name, Some(file.clone()))).await?;
        store.keep_checkpoints(&self.name, &[&file]).await
    }

    /// The run is recorded at this epoch, and its checkpoint is whole.
    async fn assert_at(&self, epoch: u32) {
        let store = self.store();
        let last = store.run(&self.name).await.unwrap().unwrap().last.unwrap();
        assert_eq!(store.read_state(&last).await.unwrap(), state(epoch));
    }
}

fn state(epoch: u32) -> ModelState {
    ModelState::new([NamedTensor { name: "w".into(), shape: vec![1000], data: vec![epoch as f32; 1000] }])
}

fn record(model: &ModelName, last: Option<FileRef>) -> RunRecord {
    RunRecord {
        run: RunId::starting_at(1),
        model: model.clone(),
        status: RunStatus::Running,
        error: None,
        started_unix_ms: 1,
        definition: ModelDefinition {
            spec: ModelSpec::new(Architecture::CNN),
            classes: vec!["a".into(), "b".into()],
            positive: Some(1),
            loss: Loss::BinaryCrossentropy,
            precision: Precision::F32,
            preprocessing: Preprocessing::plain(32, 1, 0.5, 0.25),
            class_weights: vec![1.0, 1.0],
        },
        workers: 2,
        threads: 1,
        data: DataProfile::default(),
        profile_seconds: 0.0,
        profile_timing: Timing::default(),
        transfer: None,
        epochs: Vec::new(),
        best_epoch: None,
        last,
        best: None,
        exchange: None,
        dropped: Vec::new(),
        children: Vec::new(),
    }
}

#[tokio::test]
async fn temporary_failures_are_retried() {
    for code in [ENOSPC, EIO, EAGAIN] {
        for operation in [Operation::Put, Operation::Rename, Operation::Get, Operation::List, Operation::Delete] {
            let fixture = Fixture::new();
            fixture.epoch(&fixture.store(), 1).await.unwrap();
            let (store, left) = fixture.failing(operation, code, 3);
            fixture.epoch(&store, 2).await.unwrap();
            let last = store.run(&fixture.name).await.unwrap().unwrap().last.unwrap();
            assert_eq!(store.read_state(&last).await.unwrap(), state(2), "{operation:?} {code}");
            store.model_names().await.unwrap();
            assert_eq!(left.load(Ordering::Relaxed), 0, "{operation:?} was not called");
            assert_eq!(fixture.files("runs/m"), ["epoch-00002.safetensors", "run.json"], "{operation:?} {code}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_gives_a_clear_error_and_the_last_checkpoint_is_complete() {
    for operation in [Operation::Put, Operation::Rename] {
        let fixture = Fixture::new();
        fixture.epoch(&fixture.store(), 1).await.unwrap();
        let (store, _) = fixture.failing(operation, ENOSPC, u32::MAX);
        let message = fixture.epoch(&store, 2).await.unwrap_err().to_string();
        let expected = format!(
            "the model store {} failed to write runs/m/epoch-00002.safetensors after 5 attempts: Generic \
             LocalFileSystem error: No space left on device (os error 28). The disk is full: free space, then run \
             the statement with resume = true; the last checkpoint is whole",
            store.url()
        );
        assert_eq!(message, expected);
        fixture.assert_at(1).await;
        // Over a file that is there: it stays.
        store.write_run(&record(&fixture.name, None)).await.unwrap_err();
        fixture.assert_at(1).await;
        // What the failed writes left is gone when the disk works again.
        fixture.epoch(&fixture.store(), 2).await.unwrap();
        fixture.assert_at(2).await;
        assert_eq!(fixture.files("runs/m"), ["epoch-00002.safetensors", "run.json"]);
    }
}

#[tokio::test]
async fn permanent_failures_are_not_retried() {
    let fixture = Fixture::new();
    let (store, left) = fixture.failing(Operation::Put, EACCES, 9);
    let message = store.write_run(&record(&fixture.name, None)).await.unwrap_err().to_string();
    assert!(
        message.contains("failed to write runs/m/run.json: ") && message.contains("Permission denied"),
        "{message}"
    );
    assert_eq!(left.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn a_killed_writer_leaves_the_file_unchanged_and_the_next_one_cleans_up() {
    let fixture = Fixture::new();
    fixture.epoch(&fixture.store(), 1).await.unwrap();
    for name in ["epoch-00002.safetensors.1f-0.part", "epoch-00002.safetensors.1f-1.part#1", "run.json.1f-2.part#7"] {
        std::fs::write(fixture.folder.path().join("runs/m").join(name), b"half").unwrap();
    }
    fixture.assert_at(1).await;
    assert!(fixture.store().model_names().await.unwrap().is_empty());
    fixture.epoch(&fixture.store(), 2).await.unwrap();
    assert_eq!(fixture.files("runs/m"), ["epoch-00002.safetensors", "run.json"]);
    std::fs::write(fixture.folder.path().join("runs/m/run.json.1f-2.part#7"), b"half").unwrap();
    fixture.store().drop_model(&fixture.name).await.unwrap();
    assert_eq!(fixture.files("runs/m"), [""; 0]);
}

#[tokio::test]
async fn readers_see_complete_files_while_they_are_replaced() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.epoch(&store, 0).await.unwrap();
    let (writer, name) = (store.clone(), fixture.name.clone());
    let writing = tokio::spawn(async move {
        for epoch in 0..200 {
            let last = FileRef { path: "x".repeat(epoch * 97 % 5000), checksum: epoch.to_string() };
            writer.write_run(&record(&name, Some(last))).await.unwrap();
        }
    });
    while !writing.is_finished() {
        store.run(&fixture.name).await.unwrap().unwrap();
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn retries_end_within_their_limits() {
    let patience = Patience { attempts: 100, total: Duration::from_millis(50), ..quick(100) };
    let started = Instant::now();
    let work = || async {
        Err::<(), _>(object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::from(io::ErrorKind::TimedOut)),
        })
    };
    let failure = patience.run(work, |_| {}).await.unwrap_err();
    assert!(failure.attempts > 3 && started.elapsed() < Duration::from_secs(2), "{failure:?}");
    let hangs = Patience { attempts: 2, attempt_max: Duration::from_millis(5), ..quick(2) };
    let failure = hangs.run(std::future::pending::<StoreResult<()>>, |_| {}).await.unwrap_err();
    assert!(failure.error.to_string().contains("no answer in 5ms"), "{failure:?}");
    // As documented: the waits of all attempts fit into the total.
    let waits: u64 = (0..ATTEMPTS_MAX - 1).map(|n| (WAIT_FIRST_MS << n).min(WAIT_MAX_MS)).sum();
    assert!(waits <= TOTAL_MAX_MS, "{waits}");
}

#[tokio::test]
async fn a_record_with_invalid_values_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.epoch(&store, 1).await.unwrap();
    let path = fixture.folder.path().join("runs/m/run.json");
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let edits: [&dyn Fn(&mut serde_json::Value); 6] = [
        &|r| r["workers"] = u32::MAX.into(),
        &|r| r["threads"] = 0.into(),
        &|r| r["definition"]["preprocessing"]["image_size"] = u32::MAX.into(),
        &|r| r["definition"]["spec"]["batch_size"] = 0.into(),
        &|r| r["definition"]["positive"] = u32::MAX.into(),
        &|r| r["definition"]["class_weights"] = vec![1.0; 5000].into(),
    ];
    for edit in edits {
        let mut edited = whole.clone();
        edit(&mut edited);
        std::fs::write(&path, edited.to_string()).unwrap();
        let message = store.run(&fixture.name).await.unwrap_err().to_string();
        assert!(message.starts_with("runs/m/run.json is damaged: ") && message.contains(" must "), "{message}");
    }
    for nested in ["[", "{\"x\":", "{\"epochs\":[", "{\"definition\":{\"x\":"] {
        std::fs::write(&path, nested.repeat(100_000)).unwrap();
        let message = store.run(&fixture.name).await.unwrap_err().to_string();
        assert!(message.starts_with("runs/m/run.json is damaged: "), "{message}");
    }
}

#[tokio::test]
async fn the_last_evaluation_of_each_kind_is_kept_until_the_model_is_dropped() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let of = |source: &str, result: EvaluationResult| EvaluationRecord {
        weights: "ab".repeat(32),
        source: source.to_owned(),
        rows: 40,
        skipped: 1,
        evaluated_unix_ms: 1_764_000_000_000,
        result,
    };
    let stress = || EvaluationResult::Stress { threshold: Some(0.5), changes: Vec::new() };
    let shortcuts = || EvaluationResult::Shortcuts { images: 40, uses: Vec::new() };
    for record in [of("old", stress()), of("new", stress()), of("other", shortcuts())] {
        store.write_evaluation(&fixture.name, &record).await.unwrap();
    }
    assert_eq!(fixture.files("models/m"), ["evaluation-shortcuts.json", "evaluation-stress.json"]);
    let found = store.evaluation(&fixture.name, EvaluationKind::Stress).await.unwrap();
    assert_eq!(found, Some(of("new", stress())));
    let message = store.write_evaluation(&fixture.name, &of(&"x".repeat(201), stress())).await.unwrap_err();
    assert!(message.to_string().contains("the name of its rows has more than 200 characters"), "{message}");
    let path = fixture.folder.path().join("models/m/evaluation-stress.json");
    std::fs::write(path, "{}").unwrap();
    let message = store.evaluation(&fixture.name, EvaluationKind::Stress).await.unwrap_err().to_string();
    assert!(message.starts_with("models/m/evaluation-stress.json is damaged: "), "{message}");
    store.drop_model(&fixture.name).await.unwrap();
    assert_eq!(store.evaluation(&fixture.name, EvaluationKind::Shortcuts).await.unwrap(), None);
}

#[tokio::test]
async fn a_path_in_a_record_cannot_leave_the_store() {
    let fixture = Fixture::new();
    std::fs::write(fixture.folder.path().join("outside"), b"x").unwrap();
    let inner = fixture.folder.path().join("store");
    let store = ModelStore::open(inner.to_str().unwrap()).unwrap();
    for path in ["../outside", "/../outside", "a/../../outside", "..%2Foutside", "./../outside"] {
        let file = FileRef { path: path.into(), checksum: checksum(b"x") };
        let message = store.read_state(&file).await.unwrap_err().to_string();
        assert!(message.contains("it is missing") || message.contains("failed to read"), "{path}: {message}");
    }
}

#[test]
fn the_debug_form_of_a_store_is_its_url() {
    let fixture = Fixture::new();
    let debug = format!("{:?}", fixture.store());
    assert_eq!(debug, format!("ModelStore {{ files: Files {{ url: {:?}, .. }} }}", fixture.store().url()));
}
