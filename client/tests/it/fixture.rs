//! Images that a net can classify, a table of them, and a context that trains on it.

use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use image::{GrayImage, ImageFormat, Luma};
use regex::Regex;
use tempfile::TempDir;
use tusk::ingest::{IngestOptions, ingest};
use tusk::{CacheLimits, ContextOptions, TuskContext};
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;

/// Side of the images, in pixels.
pub(crate) const SIDE: u32 = 32;

/// The classes of most tests.
pub(crate) const TWO: &[&str] = &["NORMAL", "PNEUMONIA"];

/// The classes of tests with three classes.
pub(crate) const THREE: &[&str] = &["BACTERIA", "NORMAL", "VIRUS"];

/// Images per class. Each patient has four of them.
pub(crate) const PER_CLASS: u64 = 24;

/// Options of a model that trains in well under a second per epoch.
pub(crate) const TINY: &str =
    "image_size = 32, batch_size = 8, precision = 'f32', \"group\" = 'group', validation_fraction = 0.4";

/// The next number of a SplitMix64 sequence (Steele et al. 2014).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// An image of a class. The position of a bright bar depends on the class, and the noise on the seed.
pub(crate) fn bar_image(class: usize, seed: u64) -> GrayImage {
    let mut state = seed;
    let left = 3 + class as u32 * 10;
    GrayImage::from_fn(SIDE, SIDE, |x, _| {
        let noise = (next(&mut state) % 70) as u8;
        Luma([if (left..left + 6).contains(&x) { 180 + noise } else { 30 + noise }])
    })
}

/// Writes images of each class to `folder/CLASS`, JPEG and PNG in turn. `person003_1.png` belongs to person003.
pub(crate) fn draw(folder: &Path, classes: &[&str], per_class: u64) {
    for (class, name) in classes.iter().enumerate() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for index in 0..per_class {
            let number = class as u64 * per_class + index;
            let (format, ending) = if index % 2 == 0 { (ImageFormat::Png, "png") } else { (ImageFormat::Jpeg, "jpeg") };
            let path = folder.join(format!("person{:03}_{}.{ending}", number / 4, number % 4));
            bar_image(class, number).save_with_format(path, format).unwrap();
        }
    }
}

/// A folder of images, a Parquet file of them (the table `xrays`), a model store and a context.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) context: TuskContext,
}

impl Fixture {
    /// A fixture with two classes.
    pub(crate) async fn new() -> Self {
        Self::with(TWO, CacheLimits::default()).await
    }

    /// A fixture with the given classes and cache limits.
    pub(crate) async fn with(classes: &[&str], cache: CacheLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("pictures");
        draw(&images, classes, PER_CLASS);
        let mut options = IngestOptions::new([&images], dir.path().join("xrays.parquet"));
        options.group_regex = Some(Regex::new(r"person\d+").unwrap());
        let summary = ingest(&options, &mut |_| {}).unwrap();
        assert_eq!(summary.rows as u64, PER_CLASS * classes.len() as u64);
        Self::open(dir, cache).await
    }

    async fn open(dir: TempDir, cache: CacheLimits) -> Self {
        let context = TuskContext::embedded_with(context_options(dir.path(), cache)).await.unwrap();
        let fixture = Self { dir, context };
        fixture.run("CREATE EXTERNAL TABLE xrays STORED AS PARQUET LOCATION '{dir}/xrays.parquet'").await;
        fixture
    }

    /// Opens the same folder in a new context, which knows only what the store holds.
    pub(crate) async fn reopen(self) -> Self {
        let Self { dir, context } = self;
        drop(context);
        Self::open(dir, CacheLimits::default()).await
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Replaces `{dir}` in a text by the fixture's folder.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{dir}", &self.dir.path().display().to_string())
    }

    /// Replaces the fixture's folder in a text by `{dir}`, in every form of its path.
    pub(crate) fn normalise(&self, text: &str) -> String {
        let path = self.dir.path().display().to_string();
        text.replace(&path, "{dir}").replace(path.trim_start_matches('/'), "{dir}")
    }

    async fn attempt(&self, sql: &str) -> tusk::Result<Vec<RecordBatch>> {
        self.context.sql(&self.fill(sql)).await?.collect().await
    }

    /// The rows of a statement that must succeed.
    pub(crate) async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        self.attempt(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The error of a statement that must fail.
    pub(crate) async fn refusal(&self, sql: &str) -> String {
        match self.attempt(sql).await {
            Ok(batches) => panic!("{sql}\nwas accepted, with {:?}", cells(&batches)),
            Err(error) => self.normalise(&error.to_string()),
        }
    }

    /// The rows of a statement as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        cells(&self.run(sql).await)
    }

    /// The only cell of a statement's result.
    pub(crate) async fn cell(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!((rows.len(), rows.first().map_or(0, Vec::len)), (1, 1), "{sql} returned {rows:?}");
        rows[0][0].clone()
    }

    /// Trains a tiny model. `options` begin with a comma.
    pub(crate) async fn train(&self, name: &str, epochs: u32, options: &str, on: &str) -> Vec<Vec<String>> {
        self.rows(&create(name, epochs, options, on)).await
    }

    pub(crate) async fn manifest(&self, name: &str) -> Manifest {
        self.context.manifest(&ModelName::new(name).unwrap()).await.unwrap()
    }

    /// The path of a model's weights.
    pub(crate) async fn weights_path(&self, name: &str) -> PathBuf {
        self.path("store").join(self.manifest(name).await.weights.path)
    }

    /// The bytes of a model's safetensors file.
    pub(crate) async fn weights(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.weights_path(name).await).unwrap()
    }
}

/// The options of a context whose store is in a folder.
pub(crate) fn context_options(dir: &Path, cache: CacheLimits) -> ContextOptions {
    ContextOptions { store: dir.join("store").display().to_string(), threads: 2, cache, ..ContextOptions::default() }
}

/// A CREATE MODEL with [`TINY`] options. `options` begin with a comma.
pub(crate) fn create(name: &str, epochs: u32, options: &str, on: &str) -> String {
    format!("CREATE MODEL {name} USING cnn OPTIONS ({TINY}, epochs = {epochs}{options}) TRAIN ON {on}")
}

/// Rows as text. NULL becomes `NULL`.
pub(crate) fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    rows
}

/// Compares a text with a golden file, or writes the file if `UPDATE_GOLDEN=1`.
pub(crate) fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if is_update() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "tests/golden/{name} differs. If the change is meant, run the test with UPDATE_GOLDEN=1.\n\
         --- expected\n{expected}\n--- actual\n{actual}"
    );
}

/// Whether to rewrite the golden files.
pub(crate) fn is_update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1")
}
