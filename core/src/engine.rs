//! The traits that the executor implements with libtorch. The training operator and the SQL functions use them.

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
use crate::task_models::TaskModels;

/// Runs a job for one worker.
pub trait TrainEngine: Debug + Send + Sync {
    /// Starts the work and returns the task output as a stream of [`crate::physical::output_schema`] rows. Dropping the
    /// stream stops the work. `source` gives the rows of the whole table, of which the worker uses its shard.
    ///
    /// # Errors
    /// Returns an error if the work cannot start. Later errors are in the stream.
    fn run(
        &self,
        task: Arc<TrainTask>,
        worker: WorkerId,
        source: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// The engine as a session extension.
#[derive(Clone, Debug)]
pub struct EngineExtension(pub Arc<dyn TrainEngine>);

/// Adds this engine to a session configuration.
#[must_use]
pub fn with_engine(config: SessionConfig, engine: Arc<dyn TrainEngine>) -> SessionConfig {
    config.with_extension(Arc::new(EngineExtension(engine)))
}

/// Returns the engine of the process that runs a task.
///
/// # Errors
/// Returns an error if this process has no engine, such as a scheduler.
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

/// The predictions of a model for a column of images.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// The classes, in the order of the probabilities.
    pub classes: Arc<[String]>,
    /// Index of the positive class and its threshold, if there are two classes.
    pub decision: Option<(usize, f64)>,
    /// Probabilities, one row of `classes.len()` per image, row-major; unspecified where `valid` is false.
    pub probabilities: Vec<f32>,
    /// The calibration, if the model has one.
    pub calibration: Option<Calibration>,
    /// Whether the image is present and readable.
    pub valid: Vec<bool>,
}

impl Predictions {
    /// Returns the class index of image `row` from [`decide`], or `None` if its probabilities are NaN.
    #[must_use]
    pub fn class_of(&self, row: usize) -> Option<usize> {
        decide(self.row(row), self.decision)
    }

    /// Returns the predictions with calibrated probabilities. The classes are still decided from the raw probabilities.
    #[must_use]
    pub fn calibrated(mut self) -> Self {
        if let Some(calibration) = self.calibration.take() {
            for row in self.probabilities.chunks_mut(self.classes.len().max(1)) {
                row.copy_from_slice(&calibration.apply(row));
            }
        }
        self
    }

    /// Returns the probabilities of image `row`.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.classes.len();
        self.probabilities.get(row * width..(row + 1) * width).unwrap_or(&[])
    }
}

/// The heat maps of a column of images.
#[derive(Clone, Debug, Default)]
pub struct Explanations {
    /// Side of the heat maps and the images, in pixels.
    pub side: u32,
    /// Channels of the images: 1 or 3.
    pub channels: u8,
    /// For each image, a heat map in [0, 1], row by row, and the net input before normalization. `None` if the image is
    /// missing or unreadable.
    pub images: Vec<Option<(Vec<f32>, Vec<u8>)>>,
}

/// Augmentations to apply to a column of images.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The transforms.
    pub augment: Augment,
    /// The random seed of each image. `None` gives no image.
    pub seeds: Vec<Option<u64>>,
    /// Side of the resulting images, in pixels.
    pub side: u32,
}

/// Applies published models to images.
pub trait Predictor: Debug + Send + Sync {
    /// Predicts every element of `images` (encoded bytes or Spark's image struct) with the model of `tasks`. Without
    /// `tasks`, the model is read as it is published now.
    ///
    /// # Errors
    /// Returns an error if the model does not exist, its file is damaged, or the column has no images.
    fn predict(&self, model: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Predictions>;

    /// Computes a heat map for every element of `images`.
    ///
    /// # Errors
    /// The same as [`Self::predict`], and an error if the net has no feature maps.
    fn explain(&self, model: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Explanations>;

    /// Augments every element of `images`. Results are square grey images, row by row. `None` if the image is missing
    /// or unreadable.
    ///
    /// # Errors
    /// Returns an error if the column has no images, or if this process has no libtorch.
    fn augment(&self, images: &dyn Array, changes: &Changes) -> Result<Vec<Option<Vec<u8>>>>;
}
