//! Probabilities of images: what validation and prediction share.

use tch::{Device, Kind, Tensor, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::options::Augment;
use tusk_core::state::ModelState;

use crate::error::Result;
use crate::input::augment::InputPipeline;
use crate::nets::Pass;
use crate::nets::layout::to_vec;
use crate::nets::loaded::LoadedNet;

/// Images per step of a pass that only looks.
pub(crate) const SCORING_BATCH: usize = 64;

/// A model ready to answer, with everything folded that prediction does not need apart.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) loaded: LoadedNet,
    plain: InputPipeline,
    /// Makes the further views of test-time augmentation, and how many there are.
    turned: Option<(InputPipeline, u32)>,
}

impl Scorer {
    /// The model of a definition with these weights; `what` names the weights in errors.
    pub(crate) fn new(device: Device, definition: &ModelDefinition, state: &ModelState, what: &str) -> Result<Self> {
        let loaded = LoadedNet::on(device, definition, state, what)?.folded()?;
        let spec = &definition.spec;
        let pipeline = |augment| {
            InputPipeline::new(&definition.preprocessing, augment, spec.training.seed, loaded.device, loaded.kind)
        };
        let plain = pipeline(Augment::default())?;
        let turned =
            if spec.prediction.tta > 1 { Some((pipeline(Augment::views())?, spec.prediction.tta - 1)) } else { None };
        Ok(Self { loaded, plain, turned })
    }

    /// Where in each image is what speaks for a class, one of `classes` per image: maps `[n * side * side]` in [0, 1],
    /// each with its own largest value at 1, before it is made as large as the image, unless nothing speaks for the class.
    /// The net's maps are weighed by their gradients, place by place (HiResCAM; Draelos & Carin 2020, arXiv 2011.08891): where
    /// the maps are averaged next, that is Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391).
    pub(crate) fn explain(&self, images: &Tensor, classes: &[i64]) -> Result<Vec<f32>> {
        let LoadedNet { net, params, .. } = &self.loaded;
        let count = images.size().first().copied().unwrap_or(0);
        let x = self.plain.input(images, &vec![0; usize::try_from(count).unwrap_or(0)], 0)?;
        let maps = no_grad(|| net.features(params, &x, Pass::Predict))?;
        let kind = maps.kind();
        let maps = maps.f_to_kind(Kind::Float)?.f_detach()?.f_set_requires_grad(true)?;
        let outputs = net.classify(params, &maps.f_to_kind(kind)?, Pass::Predict)?;
        let score = self.loaded.evidence(&outputs, classes)?.f_sum(Kind::Float)?;
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

    /// Class probabilities `[n * classes]`, row-major, of images `[n, side, side, channels]`, u8, on the device: the mean
    /// over the views. All images are turned alike, so that one's answer does not depend on its neighbours.
    pub(crate) fn probabilities(&self, images: &Tensor) -> Result<Vec<f32>> {
        let count = usize::try_from(images.size().first().copied().unwrap_or(0)).unwrap_or(0);
        let alike = vec![0; count];
        let loaded = &self.loaded;
        let seen = |pipeline: &InputPipeline, view| {
            let x = pipeline.input(images, &alike, view)?;
            loaded.probabilities(&no_grad(|| loaded.net.forward(&loaded.params, &x, Pass::Predict))?)
        };
        let mut mean = seen(&self.plain, 0)?;
        if let Some((pipeline, views)) = &self.turned {
            for view in 1..=*views {
                mean.iter_mut().zip(seen(pipeline, view)?).for_each(|(sum, probability)| *sum += probability);
            }
            mean.iter_mut().for_each(|sum| *sum /= (views + 1) as f32);
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
    fn an_explanation_is_the_sum_of_the_maps_by_their_weight_for_the_class_that_is_asked_for() {
        let images = Tensor::randint_low(0, 256, [4, 64, 64, 1], (Kind::Uint8, Device::Cpu));
        for loss in [Loss::BinaryCrossentropy, Loss::CategoricalCrossentropy] {
            // Its maps are averaged next: what is found is Grad-CAM, which can be written down.
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
                let apart = found[row * 4096..].iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-3, "{loss:?}, image {row}: {apart}");
            }
        }
    }
}
