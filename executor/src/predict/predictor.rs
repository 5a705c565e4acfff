//! Predicts with published models. A model is loaded once and kept until it is replaced or too many are loaded.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use datafusion::arrow::array::Array;
use datafusion::error::DataFusionError;
use tch::{Device, Kind, Tensor};
use tokio::runtime::Runtime;
use tusk_core::engine::{Changes, Explanations, Predictions, Predictor};
use tusk_core::ids::ModelName;
use tusk_core::manifest::{Manifest, Member, ModelDefinition, Preprocessing};
use tusk_core::random::content_hash;
use tusk_core::state::ModelState;
use tusk_core::store::ModelStore;
use tusk_core::task_models::TaskModels;
use tusk_pixels::ImageColumn;

use crate::error::Result;
use crate::input::augment::InputPipeline;
use crate::input::batch_loader::on_device;
use crate::predict::scorer::{SCORING_BATCH, Scorer};
use crate::runtime::devices::device;
use crate::runtime::parallel;

/// The largest number of loaded models.
const MODELS_MAX: usize = 8;

/// A loaded model.
#[derive(Debug)]
struct Loaded {
    manifest: Manifest,
    classes: Arc<[String]>,
    /// Its nets, grouped by preprocessing. An image is decoded once per group.
    views: Vec<View>,
}

/// Nets with the same preprocessing.
#[derive(Debug)]
struct View {
    preprocessing: Preprocessing,
    /// Each net is used by one thread at a time. The other threads decode images meanwhile.
    scorers: Vec<Mutex<Scorer>>,
}

impl Loaded {
    fn new(manifest: Manifest, state: &ModelState) -> Result<Self> {
        let what = format!("model {}", manifest.name);
        let mut views: Vec<View> = Vec::new();
        let mut add = |definition: &ModelDefinition, state: &ModelState, what: &str| -> Result<()> {
            let scorer =
                Mutex::new(Scorer::new(device(definition.spec.distribution.device)?, definition, state, what)?);
            let preprocessing = &definition.preprocessing;
            match views.iter_mut().find(|view| view.preprocessing.pixels() == preprocessing.pixels()) {
                Some(view) => view.scorers.push(scorer),
                None => views.push(View { preprocessing: preprocessing.clone(), scorers: vec![scorer] }),
            }
            Ok(())
        };
        if manifest.members.is_empty() {
            add(&manifest.definition, state, &what)?;
        }
        for Member { name, definition } in &manifest.members {
            add(definition, &state.member(name), &format!("{what}, member {name}"))?;
        }
        Ok(Self { classes: manifest.definition.classes.clone().into(), manifest, views })
    }

    fn nets(&self) -> usize {
        self.views.iter().map(|view| view.scorers.len()).sum()
    }

    /// Returns empty predictions with space for this many images.
    fn predictions(&self, images: usize) -> Predictions {
        Predictions {
            classes: Arc::clone(&self.classes),
            decision: self.manifest.definition.positive.zip(self.manifest.threshold),
            calibration: self.manifest.calibration_of_corrected(),
            probabilities: Vec::with_capacity(images * self.classes.len()),
            valid: Vec::with_capacity(images),
        }
    }

    /// Returns the probabilities of an image from the sums of its nets' probabilities: their means, corrected for the
    /// class frequencies of the site if the model is adapted to these.
    fn probabilities(&self, sums: &[f32]) -> Vec<f32> {
        let means: Vec<f32> = sums.iter().map(|sum| sum / self.nets() as f32).collect();
        match self.manifest.prior() {
            Some(prior) => prior.apply(&means),
            None => means,
        }
    }

    /// Returns the predicted class of each image from the sums of the nets' probabilities.
    fn decided(&self, sums: &[f32]) -> Vec<i64> {
        let mut predictions = self.predictions(0);
        let images = sums.chunks_exact(self.classes.len().max(1));
        predictions.probabilities = images.flat_map(|sums| self.probabilities(sums)).collect();
        let images = sums.len() / self.classes.len().max(1);
        // Without a prediction the heat map is empty for every class, so the class does not matter.
        (0..images).map(|image| predictions.class_of(image).unwrap_or(0) as i64).collect()
    }
}

impl View {
    /// Applies `score` to each net and returns the sum of the results. `pixels` are concatenated images; the result is
    /// empty if there are none.
    fn sum(&self, pixels: &[u8], score: impl Fn(&Scorer, &Tensor) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        if pixels.is_empty() {
            return Ok(Vec::new());
        }
        let side = i64::from(self.preprocessing.image_size);
        let shape = [side, side, i64::from(self.preprocessing.channels)];
        let mut sum: Vec<f32> = Vec::new();
        for scorer in &self.scorers {
            let scorer = scorer.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut sum, score(&scorer, &on_device(pixels, &shape, scorer.device())?)?);
        }
        Ok(sum)
    }
}

/// Adds numbers to a sum of the same length. An empty sum counts as zeros.
fn add(sum: &mut Vec<f32>, numbers: Vec<f32>) {
    if sum.is_empty() {
        *sum = numbers;
    } else {
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
}

/// Divides numbers, none of which is negative, by the largest of them.
fn divide_by_largest(numbers: &[f32]) -> Vec<f32> {
    let largest = numbers.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    numbers.iter().map(|number| number / largest).collect()
}

/// Predicts with libtorch.
#[derive(Debug)]
pub struct TorchPredictor {
    store: ModelStore,
    threads: usize,
    models: Mutex<HashMap<ModelName, Arc<Loaded>>>,
}

impl TorchPredictor {
    /// Creates a predictor for the models of a store. It uses this many threads.
    #[must_use]
    pub fn new(store: ModelStore, threads: usize) -> Self {
        Self { store, threads: threads.max(1), models: Mutex::default() }
    }

    /// Returns the model for a batch of these tasks. Tasks that were launched together use the same version of the
    /// model, even if it is replaced while they run: the first batch reads the manifest, and the others use its model.
    fn model(&self, name: &ModelName, tasks: Option<&TaskModels>) -> Result<Arc<Loaded>> {
        match tasks {
            Some(tasks) => tasks.get_or_read(name, || self.published(name)),
            None => self.published(name),
        }
    }

    /// Returns the model as it is published now. Each call reads the manifest; the weights are read only if they have
    /// changed.
    fn published(&self, name: &ModelName) -> Result<Arc<Loaded>> {
        let (store, wanted) = (self.store.clone(), name.clone());
        let manifest = wait(async move { store.manifest(&wanted).await })?;
        let known = self.models.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(loaded) = known
            && loaded.manifest == manifest
        {
            return Ok(loaded);
        }
        let (store, weights) = (self.store.clone(), manifest.weights.clone());
        let state = wait(async move { store.read_state(&weights).await })?;
        let loaded = Arc::new(Loaded::new(manifest, &state)?);
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MODELS_MAX {
            models.clear();
        }
        models.insert(name.clone(), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Decodes and preprocesses images for the nets of a view. Images that are NULL or unreadable give `None`.
    fn decode(
        &self,
        images: &ImageColumn<'_>,
        rows: std::ops::Range<usize>,
        name: &ModelName,
        preprocessing: &Preprocessing,
    ) -> Vec<Option<Vec<u8>>> {
        let one = |row: usize| {
            if images.is_null(row) {
                return None;
            }
            match images.input(row, preprocessing) {
                Ok(square) => Some(square.data),
                Err(reason) => {
                    tracing::warn!(model = %name, row, %reason, "the image cannot be read, its prediction is NULL");
                    None
                }
            }
        };
        let inputs = parallel::map(rows.len(), self.threads, |index| one(rows.start + index));
        inputs.into_iter().map(Option::flatten).collect()
    }

    fn explain_all(&self, name: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Explanations> {
        let model = self.model(name, tasks)?;
        let Manifest { definition, members, .. } = &model.manifest;
        let refuse = |reason: &str| Err(DataFusionError::Execution(format!("model '{name}' {reason}")).into());
        let definitions = members.iter().map(|member| &member.definition).chain([definition]);
        let mut nets = definitions.filter_map(|definition| definition.spec.architecture.net());
        if let Some(net) = nets.find(|net| !net.has_maps()) {
            let reason = format!("is an {}, which has no feature maps; explain needs a convolutional net", net.name);
            return refuse(&reason);
        }
        let [view] = model.views.as_slice() else {
            return refuse("has members with different image sizes; use explain with one of the members");
        };
        let images = ImageColumn::try_new(images).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let (side, channels) = (view.preprocessing.image_size, view.preprocessing.channels);
        let mut explained = Vec::with_capacity(images.len());
        tch::set_num_threads(i32::try_from(self.threads).unwrap_or(1));
        for start in (0..images.len()).step_by(SCORING_BATCH) {
            let rows = start..(start + SCORING_BATCH).min(images.len());
            let inputs = self.decode(&images, rows, name, &view.preprocessing);
            let pixels: Vec<u8> = inputs.iter().flatten().flatten().copied().collect();
            // All nets explain the same class, which is the one that the whole model predicts.
            let decided = model.decided(&view.sum(&pixels, Scorer::probabilities)?);
            let maps = view.sum(&pixels, |scorer, inputs| scorer.explain(inputs, &decided))?;
            let mut maps = maps.chunks_exact((side * side).max(1) as usize).map(divide_by_largest);
            for input in inputs {
                explained.push(input.and_then(|input| Some((maps.next()?, input))));
            }
        }
        Ok(Explanations { side, channels, images: explained })
    }

    fn predict_all(&self, name: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Predictions> {
        let model = self.model(name, tasks)?;
        let images = ImageColumn::try_new(images).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let classes = model.classes.len();
        let mut predictions = model.predictions(images.len());
        tch::set_num_threads(i32::try_from(self.threads).unwrap_or(1));
        for start in (0..images.len()).step_by(SCORING_BATCH) {
            let rows = start..(start + SCORING_BATCH).min(images.len());
            let (mut sum, mut readable) = (Vec::new(), Vec::new());
            for view in &model.views {
                let inputs = self.decode(&images, rows.clone(), name, &view.preprocessing);
                let pixels: Vec<u8> = inputs.iter().flatten().flatten().copied().collect();
                add(&mut sum, view.sum(&pixels, Scorer::probabilities)?);
                readable = inputs.iter().map(Option::is_some).collect();
            }
            let mut means = sum.chunks_exact(classes.max(1));
            for is_readable in readable {
                let mean = is_readable.then(|| means.next()).flatten();
                predictions.valid.push(mean.is_some());
                match mean {
                    Some(sums) => predictions.probabilities.extend(model.probabilities(sums)),
                    None => predictions.probabilities.extend(std::iter::repeat_n(0.0, classes)),
                }
            }
        }
        Ok(predictions)
    }
}

impl Predictor for TorchPredictor {
    fn predict(
        &self,
        model: &ModelName,
        images: &dyn Array,
        tasks: Option<&TaskModels>,
    ) -> datafusion::error::Result<Predictions> {
        self.predict_all(model, images, tasks).map_err(DataFusionError::from)
    }

    fn augment(&self, images: &dyn Array, changes: &Changes) -> datafusion::error::Result<Vec<Option<Vec<u8>>>> {
        augmented(images, changes).map_err(DataFusionError::from)
    }

    fn explain(
        &self,
        model: &ModelName,
        images: &dyn Array,
        tasks: Option<&TaskModels>,
    ) -> datafusion::error::Result<Explanations> {
        self.explain_all(model, images, tasks).map_err(DataFusionError::from)
    }
}

/// Augments images as training does, on the CPU.
fn augmented(images: &dyn Array, changes: &Changes) -> Result<Vec<Option<Vec<u8>>>> {
    let images = ImageColumn::try_new(images).map_err(|e| DataFusionError::External(Box::new(e)))?;
    // The mean is middle grey, so that a cut-out square is grey.
    let preprocessing = Preprocessing::plain(changes.side, 1, 0.5, 1.0);
    let one = |row: usize, seed: u64| -> Result<Option<Vec<u8>>> {
        let Ok(input) = images.input(row, &preprocessing) else { return Ok(None) };
        let side = i64::from(changes.side);
        let input = on_device(&input.data, &[side, side, 1], Device::Cpu)?;
        let pipeline = InputPipeline::new(&preprocessing, changes.augment.clone(), seed, Device::Cpu, Kind::Float)?;
        let seen = pipeline.images(&input, &[content_hash(images.content(row))], 1)?;
        let mut levels = vec![0_u8; input.numel()];
        seen.f_contiguous()?.f_copy_data_u8(&mut levels, input.numel())?;
        Ok(Some(levels))
    };
    let of_row = |(row, seed): (usize, &Option<u64>)| match seed {
        Some(seed) if row < images.len() && !images.is_null(row) => one(row, *seed),
        _ => Ok(None),
    };
    changes.seeds.iter().enumerate().map(of_row).collect()
}

/// Blocks until the model store responds. SQL functions are called on threads of the async runtime, which must not
/// block on that runtime. All reads of the process therefore run on a separate runtime with one thread.
fn wait<T: Send + 'static>(work: impl Future<Output = tusk_core::Result<T>> + Send + 'static) -> Result<T> {
    static STORE: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("model-store").enable_all().build()
    });
    let failed = |reason: String| DataFusionError::Execution(format!("cannot read the model store: {reason}"));
    let runtime = STORE.as_ref().map_err(|error| failed(error.to_string()))?;
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    // Sending fails only if the receiver is gone, and then the result is not needed.
    runtime.spawn(async move { drop(sender.send(work.await)) });
    Ok(receiver.recv().map_err(|_| failed("the read stopped unexpectedly".to_owned()))??)
}
