//! A table of synthetic X-rays, and a model that was trained on some of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use tempfile::TempDir;
use tusk::synthetic::{SyntheticOptions, SyntheticXray, synthetic_xrays, write_tree};
use tusk::{ContextOptions, ImageClassifier, TuskContext};
use tusk_core::codec::{decode_plan, encode_plan};
use tusk_core::engine::{Predictions, Predictor};
use tusk_core::ids::{ModelName, RunId};
use tusk_core::job::{EpochSlice, Rows, Selection, Train, TrainTask};
use tusk_core::manifest::Manifest;
use tusk_core::physical::TrainExec;
use tusk_core::store::ModelStore;
use tusk_executor::TorchPredictor;
use tusk_udfs::session::physical_codec;

use crate::IMAGE_SIDE;
use crate::cluster::source_schema;

/// Workers of the plan that is encoded and decoded.
const WORKERS: u32 = 8;

/// Synthetic X-rays with the columns of the training operator: image, label, group, name. Their number is rounded up to
/// an even one.
///
/// # Errors
/// When an image cannot be encoded.
pub fn table(images: usize, side: u32) -> Result<RecordBatch> {
    let options = SyntheticOptions {
        patients: images.div_ceil(2),
        images_per_patient: 2,
        size: side,
        ..SyntheticOptions::default()
    };
    let xrays = synthetic_xrays(&options).collect::<Result<Vec<SyntheticXray>, _>>()?;
    let text =
        |of: fn(&SyntheticXray) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(xrays.iter().map(of))) };
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(xrays.iter().map(|p| &p.image)));
    let columns = vec![images, text(|p| p.label), text(|p| &p.group), text(|p| &p.path)];
    Ok(RecordBatch::try_new(source_schema(), columns)?)
}

/// A published model of `cnn`, and a plan that trains another model like it.
#[derive(Debug)]
pub struct Published {
    _folder: TempDir,
    predictor: TorchPredictor,
    manifest: Manifest,
    task_context: Arc<TaskContext>,
}

impl Published {
    /// Trains the model for one epoch on a few images.
    ///
    /// # Errors
    /// When training fails.
    pub async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (images, store) = (folder.path().join("images"), folder.path().join("store").display().to_string());
        let options = SyntheticOptions { patients: 8, size: IMAGE_SIDE, ..SyntheticOptions::default() };
        write_tree(&images, &options, &mut |_, _| {})?;
        let context = TuskContext::embedded_with(ContextOptions { store: store.clone(), ..ContextOptions::default() });
        let context = context.await?;
        let frame = context.read_images(&format!("{}/", images.display()))?;
        let classifier = ImageClassifier::cnn().name("bench").epochs(1).option("validation_fraction", 0.0);
        let manifest = classifier.fit(&context, &frame).await?.manifest().clone();
        let predictor = TorchPredictor::new(ModelStore::open(&store)?, 1);
        Ok(Self { _folder: folder, predictor, manifest, task_context: SessionContext::new().task_ctx() })
    }

    /// Predicts the first column of rows, with one thread.
    ///
    /// # Errors
    /// When the model cannot be read.
    pub fn predict(&self, rows: &RecordBatch) -> Result<Predictions> {
        Ok(self.predictor.predict(&self.name()?, rows.column(0), None)?)
    }

    /// A training plan for all workers, as bytes.
    ///
    /// # Errors
    /// When the plan cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let selection = Selection { rows: Rows::Training, dropped: Vec::new() };
        let weights = Some(self.manifest.weights.clone());
        let task = TrainTask {
            run: RunId::from("run-bench".to_owned()),
            workers: WORKERS,
            threads: 1,
            definition: self.manifest.definition.clone(),
            store: String::new(),
            source_checksum: "00".repeat(32),
            job: Train { selection, epoch: 2, slice: EpochSlice::WHOLE, weights }.into(),
        };
        let plan = TrainExec::try_new(Arc::new(task), Arc::new(EmptyExec::new(source_schema())))?;
        Ok(encode_plan(Arc::new(plan), physical_codec().as_ref())?)
    }

    /// Decodes a plan.
    ///
    /// # Errors
    /// When the bytes are not a plan.
    pub fn decode(&self, bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(decode_plan(bytes, &self.task_context, physical_codec().as_ref())?)
    }

    fn name(&self) -> Result<ModelName> {
        ModelName::new("bench").context("bench is a valid model name")
    }
}
