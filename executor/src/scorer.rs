//! Probabilities of pictures: what validation and prediction share.

use tch::{Device, Tensor, no_grad};
use tusk_core::manifest::ModelDefinition;
use tusk_core::spec::Augment;
use tusk_core::state::ModelState;

use crate::augment::InputPipeline;
use crate::error::Result;
use crate::nets::Pass;
use crate::session::Session;

/// A model ready to answer, with everything folded that prediction does not need apart.
#[derive(Debug)]
pub(crate) struct Scorer {
    session: Session,
    plain: InputPipeline,
    /// Makes the further views of test-time augmentation, and how many there are.
    turned: Option<(InputPipeline, u32)>,
}

impl Scorer {
    /// The model of a definition with these weights; `what` names the weights in errors.
    pub(crate) fn new(device: Device, definition: &ModelDefinition, state: &ModelState, what: &str) -> Result<Self> {
        let session = Session::on(device, definition, state, what)?.folded()?;
        let spec = &definition.spec;
        let pipeline =
            |augment| InputPipeline::new(&definition.preprocessing, augment, spec.seed, session.device, session.kind);
        let plain = pipeline(Augment::default())?;
        let turned = if spec.tta > 1 { Some((pipeline(Augment::views())?, spec.tta - 1)) } else { None };
        Ok(Self { session, plain, turned })
    }

    pub(crate) fn device(&self) -> Device {
        self.session.device
    }

    /// Class probabilities `[n * classes]`, row-major, of pictures `[n, side, side, channels]`, u8, on the device: the mean
    /// over the views. All pictures are turned alike, so that one's answer does not depend on its neighbours.
    pub(crate) fn probabilities(&self, pictures: &Tensor) -> Result<Vec<f32>> {
        let count = usize::try_from(pictures.size().first().copied().unwrap_or(0)).unwrap_or(0);
        let alike = vec![0; count];
        let session = &self.session;
        let seen = |pipeline: &InputPipeline, view| {
            let x = pipeline.input(pictures, &alike, view)?;
            session.probabilities(&no_grad(|| session.net.forward(&session.params, &x, Pass::Predict))?)
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
