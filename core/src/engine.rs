//! The traits behind which libtorch lives: the operator and the functions know these, an executor brings them.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::prelude::SessionConfig;

use crate::ids::{ModelName, WorkerId};
use crate::job::TrainTask;
use crate::metrics::{Calibration, decide};
use crate::options::Augment;

/// Runs one worker's fraction of a job.
pub trait TrainEngine: Debug + Send + Sync {
    /// Starts the work and returns its answer as a stream of [`crate::physical::answer_schema`] rows. Dropping the
    /// stream stops the work. `source` gives the rows of the whole table; the worker takes its own.
    ///
    /// # Errors
    /// When the work cannot start; what happens later is an error in the stream.
    fn run(
        &self,
        task: Arc<TrainTask>,
        worker: WorkerId,
        source: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// The engine as an extension of the session that an executor gives its tasks.
#[derive(Clone, Debug)]
pub struct EngineExtension(pub Arc<dyn TrainEngine>);

/// The session configuration with this engine in reach of the tasks.
#[must_use]
pub fn with_engine(config: SessionConfig, engine: Arc<dyn TrainEngine>) -> SessionConfig {
    config.with_extension(Arc::new(EngineExtension(engine)))
}

/// The engine of a task's process.
///
/// # Errors
/// When this process trains nothing, as a scheduler does not.
pub fn engine_of(context: &TaskContext) -> Result<Arc<dyn TrainEngine>> {
    let extension = context.session_config().get_extension::<EngineExtension>();
    extension.map(|e| Arc::clone(&e.0)).ok_or_else(|| {
        DataFusionError::Execution(
            "this process has no training engine: TrainExec runs on executors that were started as tusk-executor or \
             carry the Tusk plugin"
                .to_owned(),
        )
    })
}

/// What a model says of a column of images.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// The classes, in the order of the probabilities.
    pub classes: Arc<[String]>,
    /// Index of the positive class and the threshold of its probability, where there are two classes.
    pub decision: Option<(usize, f64)>,
    /// Probabilities, one row of `classes.len()` per image, row-major; unspecified where `valid` is false.
    pub probabilities: Vec<f32>,
    /// What makes of these calibrated probabilities, where the model has it.
    pub calibration: Option<Calibration>,
    /// Whether the image was there and readable.
    pub valid: Vec<bool>,
}

impl Predictions {
    /// The index of the class of image `row`, as [`decide`] has it; `None` where its probabilities are no numbers.
    #[must_use]
    pub fn class_of(&self, row: usize) -> Option<usize> {
        decide(self.row(row), self.decision)
    }

    /// The same with calibrated probabilities. The decision is that of the raw ones still.
    #[must_use]
    pub fn calibrated(mut self) -> Self {
        if let Some(calibration) = self.calibration.take() {
            for row in self.probabilities.chunks_mut(self.classes.len().max(1)) {
                row.copy_from_slice(&calibration.apply(row));
            }
        }
        self
    }

    /// The probabilities of image `row`.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.classes.len();
        self.probabilities.get(row * width..(row + 1) * width).unwrap_or(&[])
    }
}

/// Where in its images a model saw what made it decide as it did.
#[derive(Clone, Debug, Default)]
pub struct Explanations {
    /// Side of maps and images, in pixels.
    pub side: u32,
    /// Samples per pixel of the images: 1 or 3.
    pub channels: u8,
    /// Per image a map in [0, 1], row by row, and the image as the net saw it; `None` where the image is not there or
    /// cannot be read.
    pub images: Vec<Option<(Vec<f32>, Vec<u8>)>>,
}

/// Random changes to images, as training makes them.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Which transforms.
    pub augment: Augment,
    /// Per image where its random numbers come from; `None` gives no image.
    pub seeds: Vec<Option<u64>>,
    /// Side of the images, in pixels.
    pub side: u32,
}

/// Applies published models to images.
pub trait Predictor: Debug + Send + Sync {
    /// The predictions of a model for every element of `images` (encoded bytes or Spark's image struct).
    ///
    /// # Errors
    /// When there is no such model, its file is damaged, or the column holds no images.
    fn predict(&self, model: &ModelName, images: &dyn Array) -> Result<Predictions>;

    /// What made a model decide, for every element of `images`.
    ///
    /// # Errors
    /// As [`Self::predict`], and where the net has no maps to look at.
    fn explain(&self, model: &ModelName, images: &dyn Array) -> Result<Explanations>;

    /// What training may make of every element of `images`: grey squares, row by row; `None` where the image is not there
    /// or cannot be read.
    ///
    /// # Errors
    /// When the column holds no images, or this process computes nothing.
    fn augment(&self, images: &dyn Array, changes: &Changes) -> Result<Vec<Option<Vec<u8>>>>;
}
