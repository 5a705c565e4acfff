//! Applies published models: reads a model once, replays its preprocessing, and keeps it while it is the current one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::Array;
use datafusion::error::DataFusionError;
use tusk_core::engine::{Predictions, Predictor};
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::store::ModelStore;
use tusk_udfs::pixels::{Channels, ImageColumn};

use crate::error::Result;
use crate::feed::on_device;
use crate::parallel;
use crate::scorer::Scorer;
use crate::session::device;
use crate::trainer::SCORING_BATCH;

/// Models kept ready.
const MODELS_MAX: usize = 8;

/// A model ready to answer.
#[derive(Debug)]
struct Loaded {
    manifest: Manifest,
    classes: Arc<[String]>,
    /// What one thread at a time uses: while it computes, the others decode.
    scorer: Mutex<Scorer>,
}

impl Loaded {
    /// The probabilities of pictures one after another, row by row.
    fn predict(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        let preprocessing = &self.manifest.definition.preprocessing;
        let side = i64::from(preprocessing.image_size);
        let shape = [side, side, i64::from(preprocessing.channels)];
        let scorer = self.scorer.lock().unwrap_or_else(PoisonError::into_inner);
        scorer.probabilities(&on_device(pixels, &shape, scorer.device())?)
    }
}

/// Predicts with libtorch.
#[derive(Debug)]
pub struct TorchPredictor {
    store: ModelStore,
    threads: usize,
    models: Mutex<HashMap<ModelName, Arc<Loaded>>>,
}

impl TorchPredictor {
    /// A predictor for the models of a store, on this many threads.
    #[must_use]
    pub fn new(store: ModelStore, threads: usize) -> Self {
        Self { store, threads: threads.max(1), models: Mutex::default() }
    }

    /// The model as it is published now: the manifest is read each time, the weights only when they changed.
    fn model(&self, name: &ModelName) -> Result<Arc<Loaded>> {
        let manifest = wait(self.store.manifest(name))?;
        let known = self.models.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(loaded) = known
            && loaded.manifest == manifest
        {
            return Ok(loaded);
        }
        let state = wait(self.store.read_state(&manifest.weights))?;
        let definition = &manifest.definition;
        let scorer = Scorer::new(device(definition.spec.device)?, definition, &state, &format!("model {name}"))?;
        let classes = definition.classes.clone().into();
        let loaded = Arc::new(Loaded { manifest, classes, scorer: Mutex::new(scorer) });
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MODELS_MAX {
            models.clear();
        }
        models.insert(name.clone(), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Pixels of the images that can be read, one after another, and which those are.
    fn decode(&self, images: &ImageColumn<'_>, rows: std::ops::Range<usize>, model: &Loaded) -> Vec<Option<Vec<u8>>> {
        let preprocessing = &model.manifest.definition.preprocessing;
        let channels = if preprocessing.channels == 3 { Channels::Rgb } else { Channels::Grey };
        let side = preprocessing.image_size;
        let one = |row: usize| {
            if images.is_null(row) {
                return None;
            }
            match images.square(row, channels, side) {
                Ok(square) => Some(square.data),
                Err(reason) => {
                    tracing::warn!(model = %model.manifest.name, row, %reason, "unreadable image predicts NULL");
                    None
                }
            }
        };
        let pictures = parallel::map(rows.len(), self.threads, |index| one(rows.start + index));
        pictures.into_iter().map(Option::flatten).collect()
    }

    fn predict_all(&self, name: &ModelName, images: &dyn Array) -> Result<Predictions> {
        let model = self.model(name)?;
        let images = ImageColumn::try_new(images).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let definition = &model.manifest.definition;
        let mut predictions = Predictions {
            classes: Arc::clone(&model.classes),
            decision: definition.positive.zip(model.manifest.threshold),
            temperature: model.manifest.temperature.unwrap_or(1.0),
            probabilities: Vec::with_capacity(images.len() * model.classes.len()),
            valid: Vec::with_capacity(images.len()),
        };
        tch::set_num_threads(i32::try_from(self.threads).unwrap_or(1));
        for start in (0..images.len()).step_by(SCORING_BATCH) {
            let pictures = self.decode(&images, start..(start + SCORING_BATCH).min(images.len()), &model);
            let pixels: Vec<u8> = pictures.iter().flatten().flatten().copied().collect();
            let readable = pictures.iter().flatten().count();
            let mut probabilities = Vec::new();
            if readable > 0 {
                probabilities = model.predict(&pixels)?;
            }
            let mut rows = probabilities.chunks_exact(model.classes.len().max(1));
            for picture in &pictures {
                let row = picture.as_ref().and_then(|_| rows.next());
                predictions.valid.push(row.is_some());
                match row {
                    Some(row) => predictions.probabilities.extend_from_slice(row),
                    None => predictions.probabilities.extend(std::iter::repeat_n(0.0, model.classes.len())),
                }
            }
        }
        Ok(predictions)
    }
}

impl Predictor for TorchPredictor {
    fn predict(&self, model: &ModelName, images: &dyn Array) -> datafusion::error::Result<Predictions> {
        self.predict_all(model, images).map_err(DataFusionError::from)
    }
}

/// Waits for the store on a thread of its own: a function of a query is called from inside the async runtime, which
/// must not wait for itself.
fn wait<T: Send>(work: impl Future<Output = tusk_core::Result<T>> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok::<_, std::io::Error>(runtime.block_on(work))
        });
        match waiting.join() {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(error)) => Err(DataFusionError::IoError(error).into()),
            Err(_) => Err(DataFusionError::Execution("reading the model store stopped unexpectedly".into()).into()),
        }
    })
}
