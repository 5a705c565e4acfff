//! Adapts a model to the images of a site, without labels: measures the statistics of its normalisation layers again,
//! and estimates the class frequencies if asked.
//!
//! It runs the jobs of a training run, but it has no record and no checkpoints. Until the adapted model is published,
//! the model is as it was, whatever happens.

use std::sync::Arc;
use std::time::Instant;

use datafusion::physical_plan::ExecutionPlan;
use tusk_core::Error as CoreError;
use tusk_core::event::RunEvent;
use tusk_core::ids::{ModelName, RunId};
use tusk_core::job::{Adapt, ProfileReport, Rows, Selection, Validate};
use tusk_core::manifest::{Adaptation, FORMAT_VERSION, Manifest, RunRecord};
use tusk_core::metrics::ClassPrior;
use tusk_core::protocol::TrainingRequest;
use tusk_core::state::{ModelState, is_running_statistic};

use super::job::source::Source;
use super::training::{Run, RunContext, begun, unix_ms};
use crate::blocking::on_a_thread;
use crate::error::{Error, Result};

/// The least number of readable images. With fewer, the statistics of the site are less certain than those of training
/// are wrong.
const IMAGES_MIN: u64 = 32;

/// A request to adapt a model.
#[derive(Debug)]
pub(crate) struct AdaptRequest {
    /// The model as it is.
    pub(crate) manifest: Manifest,
    /// The name of the adapted model: a new one, or that of the model, which is then replaced.
    pub(crate) target: ModelName,
    /// The images, with the columns that jobs read and the first class of the model as the label of all rows.
    pub(crate) images: Arc<dyn ExecutionPlan>,
    /// The name of the images in errors.
    pub(crate) images_name: String,
    /// The table or query as in the statement.
    pub(crate) source: String,
    /// Number of workers. `None` is one per device.
    pub(crate) workers: Option<u32>,
    /// How the statistics are adapted. `None` if they stay as they are.
    pub(crate) measuring: Option<Measuring>,
    /// Whether the class frequencies are estimated.
    pub(crate) class_prior: bool,
}

/// How the statistics of the normalisation layers are adapted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measuring {
    /// Rows per batch, at least 2.
    pub(crate) batch_size: u32,
    /// The weight of the new statistics, above 0 and up to 1.
    pub(crate) strength: f64,
}

/// An adapted model.
#[derive(Debug)]
pub(crate) struct Adapted {
    /// The published model.
    pub(crate) manifest: Manifest,
    /// The last of its adaptations.
    pub(crate) adaptation: Adaptation,
    /// How far the statistics of the site are from those of the model, by layer, in standard deviations.
    pub(crate) shifts: Vec<(String, f64)>,
}

/// The numbers of readable and unreadable images.
#[derive(Clone, Copy, Debug)]
struct Images {
    readable: u64,
    skipped: u64,
}

/// A model while it is adapted.
struct Adapter {
    run: Run,
    request: AdaptRequest,
    /// The name of files that only the jobs read.
    draft: ModelName,
}

/// Adapts a model and publishes it.
///
/// # Errors
/// [`CoreError::Data`] if there are too few images or the model was replaced, [`Error::AdaptingCancelled`], and the
/// errors of jobs and of the store.
pub(crate) async fn adapt(context: RunContext, request: AdaptRequest, run: RunId) -> Result<Adapted> {
    let (store, draft, model) = (context.store.clone(), request.target.child("new")?, request.target.to_string());
    let run = unrecorded(context, &request, run)?;
    let adapted = Box::pin(Adapter { run, request, draft: draft.clone() }.adapt()).await;
    if let Err(error) = store.drop_model(&draft).await {
        tracing::warn!(model = %draft, %error, "the files of the adaptation could not be removed");
    }
    adapted.map_err(|error| match error {
        Error::Cancelled { .. } => Error::AdaptingCancelled { model },
        other => other,
    })
}

/// Returns a run without a record, for the jobs of an adaptation.
fn unrecorded(context: RunContext, request: &AdaptRequest, run: RunId) -> Result<Run> {
    let definition = request.manifest.nets().map(|(_, definition)| definition).next();
    let definition = definition.unwrap_or(&request.manifest.definition).clone();
    let training = TrainingRequest {
        name: request.target.clone(),
        spec: definition.spec.clone(),
        train: Arc::clone(&request.images),
        validate: None,
        train_name: request.images_name.clone(),
        or_replace: true,
        resume: false,
        shortcuts: None,
        nuisances: None,
    };
    let workers = request.workers.unwrap_or(context.workers);
    let record = RunRecord { workers, definition, ..begun(&context, &training, run) };
    let train_source = Source::new(&request.images, context.jobs.codec().as_ref())?;
    Ok(Run { context, request: training, record, train_source, validate_source: None, child: None })
}

impl Adapter {
    async fn adapt(mut self) -> Result<Adapted> {
        let (store, before) = (self.run.context.store.clone(), self.request.manifest.clone());
        if store.manifest(&before.name).await? != before {
            let message = format!("model '{}' was replaced just now; run the statement again", before.name);
            return Err(CoreError::Data { message }.into());
        }
        let state = store.read_state(&before.weights).await?;
        let images = Box::pin(self.read()).await?;
        let (mut states, mut shifts, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (member, definition)) in (1..).zip(before.nets()) {
            self.run.record.definition = definition.clone();
            let net = member.map_or_else(|| state.clone(), |member| state.member(member));
            let (net, moved) = Box::pin(self.adapt_net(number, net)).await?;
            let layer = |layer: String| member.map_or_else(|| layer.clone(), |member| format!("{member}.{layer}"));
            shifts.extend(moved.into_iter().map(|(name, shift)| (layer(name), shift)));
            if self.request.class_prior {
                Box::pin(self.add_scores(&net, &mut scores)).await?;
            }
            states.push(match member {
                Some(member) => net.as_member(member),
                None => net,
            });
        }
        let prior = if self.request.class_prior { Some(self.prior(scores, states.len()).await?) } else { None };
        Box::pin(self.publish(ModelState::together(states), images, prior, shifts)).await
    }

    /// Reads the images, so that the following jobs find them decoded.
    async fn read(&mut self) -> Result<Images> {
        let started = Instant::now();
        let mut reports = self.profile().await?;
        let fewest = |reports: &[ProfileReport]| reports.iter().map(|report| report.task.rows).min().unwrap_or(0);
        if let Some(Measuring { batch_size, .. }) = self.request.measuring {
            // The statistics of a few images are those of a small batch. A single worker has all images.
            let is_small = fewest(&reports) < u64::from(batch_size);
            if self.request.workers.is_none() && self.run.record.workers > 1 && is_small {
                self.run.record.workers = 1;
                reports = self.profile().await?;
            }
        }
        for image in reports.iter().flat_map(|report| &report.unreadable) {
            tracing::warn!(model = %self.request.target, image = %image.name, reason = %image.reason, "image is skipped");
        }
        let readable = reports.iter().map(|report| report.task.rows).sum();
        let images = Images { readable, skipped: reports.iter().map(|report| report.skipped).sum() };
        self.check(images, &reports)?;
        self.run.emit(RunEvent::Adapting {
            model: self.request.target.clone(),
            images: images.readable,
            skipped: images.skipped,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(images)
    }

    async fn profile(&self) -> Result<Vec<ProfileReport>> {
        let all = Selection { rows: Rows::All, dropped: Vec::new() };
        Ok(self.run.census(&self.run.train_source, all).await?.0)
    }

    fn check(&self, images: Images, reports: &[ProfileReport]) -> Result<()> {
        let Images { readable, skipped } = images;
        let name = &self.request.images_name;
        if readable < IMAGES_MIN {
            let first = reports.iter().flat_map(|report| &report.unreadable).next();
            let first = first.map_or_else(String::new, |image| format!(", such as {} ({})", image.name, image.reason));
            let message = format!(
                "{name} has {readable} readable images and {skipped} unreadable ones{first}. A model is adapted to at least \
                 {IMAGES_MIN} images; use more, or use the model as it is"
            );
            return Err(CoreError::Data { message }.into());
        }
        let alone = reports.iter().position(|report| report.task.rows == 1);
        match alone.filter(|_| self.request.measuring.is_some()) {
            Some(worker) => {
                let workers = reports.len();
                let message = format!(
                    "worker {worker} of {workers} has one image of {name}, which has no variance; use fewer workers"
                );
                Err(CoreError::Data { message }.into())
            }
            None => Ok(()),
        }
    }

    /// Returns a net with adapted statistics, and how far they have moved. A net without such layers stays as it is.
    async fn adapt_net(&self, net: u32, state: ModelState) -> Result<(ModelState, Vec<(String, f64)>)> {
        let normalises = state.iter().any(|tensor| is_running_statistic(&tensor.name));
        let Some(Measuring { batch_size, strength }) = self.request.measuring.filter(|_| normalises) else {
            return Ok((state, Vec::new()));
        };
        // The workers read a copy, because the model may be replaced while it is adapted under another name.
        let weights = self.run.context.store.write_weights(&self.draft, &state).await?;
        let statistics = self.run.measure(&Adapt { weights, net, batch_size }).await?;
        let shifts = statistics.shifts(&state)?.into_iter().map(|(layer, shift)| (layer.to_owned(), shift)).collect();
        Ok((statistics.mixed_into(&state, strength)?, shifts))
    }

    /// Scores all images with a net, and adds its probabilities to those of other nets.
    async fn add_scores(&self, state: &ModelState, sums: &mut Vec<f32>) -> Result<()> {
        let weights = self.run.context.store.write_weights(&self.draft, state).await?;
        let job = Validate { rows: Rows::All, epoch: 0, weights, copies: 0 };
        let (scores, _) = self.run.scores_of("scoring the images", &self.run.train_source, job).await?;
        if sums.is_empty() {
            *sums = scores.probabilities;
        } else if sums.len() == scores.probabilities.len() {
            sums.iter_mut().zip(scores.probabilities).for_each(|(sum, probability)| *sum += probability);
        } else {
            let message = format!("{} changed while it was read; run the statement again", self.request.images_name);
            return Err(CoreError::Data { message }.into());
        }
        Ok(())
    }

    /// Estimates the class frequencies from the sums of the probabilities of the nets.
    async fn prior(&self, mut scores: Vec<f32>, nets: usize) -> Result<ClassPrior> {
        let manifest = &self.request.manifest;
        scores.iter_mut().for_each(|sum| *sum /= nets.max(1) as f32);
        let raw = manifest.assumed_frequencies().unwrap_or_default();
        let (calibration, validation) = (manifest.calibration.clone(), manifest.validation_frequencies());
        // It takes seconds of processor time for a million images.
        let estimated = on_a_thread(move || {
            ClassPrior::estimate(&scores, raw, calibration.as_ref().map(|calibration| (calibration, validation)))
        })
        .await?;
        let none = || CoreError::Data {
            message: format!(
                "the class frequencies of {} cannot be estimated, because '{}' gives its images no probabilities; leave \
                 class_prior out",
                self.request.images_name, manifest.name
            ),
        };
        Ok(estimated.ok_or_else(none)?)
    }

    async fn publish(
        self,
        state: ModelState,
        images: Images,
        prior: Option<ClassPrior>,
        shifts: Vec<(String, f64)>,
    ) -> Result<Adapted> {
        if self.run.context.cancel.is_cancelled() {
            return Err(self.run.cancelled());
        }
        let Self { run, request, .. } = self;
        let AdaptRequest { manifest: before, target, source, measuring, .. } = request;
        let adaptation = Adaptation {
            source,
            images: images.readable,
            skipped: images.skipped,
            workers: run.record.workers,
            batch_size: measuring.map(|measuring| measuring.batch_size),
            strength: measuring.map_or(0.0, |measuring| measuring.strength),
            prior,
            unix_ms: unix_ms(),
            model: before.name.clone(),
            weights: before.weights.checksum.clone(),
        };
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            created_unix_ms: unix_ms(),
            weights: run.context.store.write_weights(&target, &state).await?,
            tusk_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: target,
            ..before
        };
        manifest.adapted.push(adaptation.clone());
        run.context.store.publish(&manifest).await?;
        Ok(Adapted { manifest, adaptation, shifts })
    }
}
