//! Computes class probabilities and heat maps of images, for validation and prediction.

use tch::{Device, Kind, Tensor, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::Augment;
use tusk_core::state::ModelState;

use crate::error::Result;
use crate::input::augment::InputPipeline;
use crate::nets::Pass;
use crate::nets::layout::to_vec;
use crate::nets::loaded::LoadedNet;

/// The number of images in a batch that is scored.
pub(crate) const SCORING_BATCH: usize = 64;

/// A loaded net for prediction, with batch normalisation folded into the convolutions.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) loaded: LoadedNet,
    plain: InputPipeline,
    /// The pipeline for the additional views of test-time augmentation, and their number.
    views: Option<(InputPipeline, u32)>,
}

impl Scorer {
    /// Loads the net of a definition with these weights. `what` names the weights in errors.
    pub(crate) fn new(device: Device, definition: &ModelDefinition, state: &ModelState, what: &str) -> Result<Self> {
        let loaded = LoadedNet::on(device, definition, state, what)?.folded()?;
        let spec = &definition.spec;
        let pipeline = |augment| {
            InputPipeline::new(&definition.preprocessing, augment, spec.training.seed, loaded.device, loaded.kind)
        };
        let plain = pipeline(Augment::default())?;
        let views =
            if spec.prediction.tta > 1 { Some((pipeline(Augment::views())?, spec.prediction.tta - 1)) } else { None };
        Ok(Self { loaded, plain, views })
    }

    /// Returns the heat map of each image for its class in `classes`: `[n * side * side]`, values in [0, 1]. Each map
    /// is scaled so that its largest value is 1 before it is enlarged to the size of the image. A map is zero if no
    /// region raises the score of the class.
    ///
    /// The net's feature maps are multiplied by their gradients at each place (HiResCAM; Draelos & Carin 2020, arXiv
    /// 2011.08891). For nets that average their feature maps, this equals Grad-CAM (Selvaraju et al. 2017, arXiv
    /// 1610.02391).
    pub(crate) fn explain(&self, images: &Tensor, classes: &[i64]) -> Result<Vec<f32>> {
        let LoadedNet { net, params, .. } = &self.loaded;
        let count = images.size().first().copied().unwrap_or(0);
        let x = self.plain.input(images, &vec![0; usize::try_from(count).unwrap_or(0)], 0)?;
        let maps = no_grad(|| net.features(params, &x, Pass::Predict))?;
        let kind = maps.kind();
        let maps = maps.f_to_kind(Kind::Float)?.f_detach()?.f_set_requires_grad(true)?;
        let outputs = net.classify(params, &maps.f_to_kind(kind)?, Pass::Predict)?;
        let score = self.loaded.class_scores(&outputs, classes)?.f_sum(Kind::Float)?;
        let gradient = Tensor::f_run_backward(&[score], &[maps.shallow_clone()], false, false)?.remove(0);
        no_grad(|| {
            let heat = maps.f_mul(&gradient)?.f_sum_dim_intlist(&[1_i64][..], true, Kind::Float)?.f_relu()?;
            let most = heat.f_amax(&[1_i64, 2, 3][..], true)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
            let side = x.size()[2];
            let heat = heat.f_div(&most)?.f_upsample_bilinear2d([side, side], false, None, None)?;
            to_vec(&heat.f_clamp(0.0, 1.0)?)
        })
    }

    pub(crate) fn device(&self) -> Device {
        self.loaded.device
    }

    /// Returns the class probabilities `[n * classes]`, row-major, of images `[n, side, side, channels]`, u8, on the
    /// device. They are means over the views. All images get the same views, so that the probabilities of an image do
    /// not depend on the other images of the batch.
    pub(crate) fn probabilities(&self, images: &Tensor) -> Result<Vec<f32>> {
        let count = usize::try_from(images.size().first().copied().unwrap_or(0)).unwrap_or(0);
        let hashes = vec![0; count];
        let loaded = &self.loaded;
        let probabilities = |pipeline: &InputPipeline, view| {
            let x = pipeline.input(images, &hashes, view)?;
            loaded.probabilities(&no_grad(|| loaded.net.forward(&loaded.params, &x, Pass::Predict))?)
        };
        let mut mean = probabilities(&self.plain, 0)?;
        if let Some((pipeline, count)) = &self.views {
            for view in 1..=*count {
                mean.iter_mut().zip(probabilities(pipeline, view)?).for_each(|(sum, probability)| *sum += probability);
            }
            mean.iter_mut().for_each(|sum| *sum /= (count + 1) as f32);
        }
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::options::{Architecture, Loss};

    use super::*;
    use crate::nets::loaded::initial_state;
    use crate::testing::definition;

    #[test]
    fn the_heat_map_of_a_net_that_averages_its_maps_is_grad_cam() {
        let images = Tensor::randint_low(0, 256, [4, 64, 64, 1], (Kind::Uint8, Device::Cpu));
        for loss in [Loss::BinaryCrossentropy, Loss::CategoricalCrossentropy] {
            // This net averages its maps, so the heat map is the sum of the maps, multiplied by the weights of the
            // class.
            let mut definition = ModelDefinition { loss, ..definition(Architecture::RESNET18) };
            definition.preprocessing.image_size = 64;
            let state = initial_state(&definition);
            let scorer = Scorer::new(Device::Cpu, &definition, &state, "the test").unwrap();
            let classes = [0, 1, 1, 0];
            let found = scorer.explain(&images, &classes).unwrap();
            assert_eq!(found.len(), 4 * 64 * 64);

            let x = scorer.plain.input(&images, &[0; 4], 0).unwrap();
            let maps = no_grad(|| scorer.loaded.net.features(&scorer.loaded.params, &x, Pass::Predict)).unwrap();
            let weights = &state.get("fc.weight").unwrap();
            let weights = Tensor::from_slice(&weights.data).view([weights.shape[0] as i64, -1, 1, 1]);
            for (row, class) in classes.into_iter().enumerate() {
                let class_weights = match loss {
                    Loss::CategoricalCrossentropy => weights.get(class),
                    _ if class == 1 => weights.get(0),
                    _ => -weights.get(0),
                };
                let heat =
                    (maps.get(row as i64) * class_weights).sum_dim_intlist(&[0_i64][..], false, Kind::Float).relu();
                let most = heat.max().double_value(&[]);
                let heat = if most > 0.0 { heat / most } else { heat };
                let heat = heat.view([1, 1, 2, 2]).upsample_bilinear2d([64, 64], false, None, None);
                let wanted = to_vec(&heat).unwrap();
                let difference =
                    found[row * 4096..].iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-3, "{loss:?}, image {row}: {difference}");
            }
        }
    }
}
