//! `cnn_reference`: the plain net that comparisons with other systems train, so that both sides do the same work.
//!
//! Four times a 3 x 3 convolution, normalisation, ReLU and a maximum over 2 x 2 pixels, as VGG does (Simonyan &
//! Zisserman 2014, arXiv 1409.1556), then the mean over the picture and two layers: 0.42 million parameters. In PyTorch
//! `features` is a `Sequential` of these sixteen layers, `hidden` and `fc` are `Linear`; `benches/peers/reference.py` has it.

use tch::Tensor;

use super::layers::{ConvBn2d, Kernel, Linear, global_average_pool};
use super::layout::{Layout, Params};
use super::{Net, Pass};
use crate::error::Result;

/// The net.
#[derive(Debug)]
pub(crate) struct CnnReference {
    features: Vec<ConvBn2d>,
    hidden: Linear,
    fc: Linear,
}

impl CnnReference {
    const WIDTHS: [i64; 4] = [32, 64, 128, 256];
    const HIDDEN: i64 = 128;

    pub(crate) fn new(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        let mut width = channels;
        let mut features = Vec::new();
        for (place, outputs) in Self::WIDTHS.into_iter().enumerate() {
            // A convolution, a normalisation, ReLU and the maximum each have a place in the sequence.
            let names = [4 * place, 4 * place + 1].map(|place| format!("features.{place}"));
            let kernel = Kernel { side: 3, stride: 1 };
            features.push(ConvBn2d::new(layout, (&names[0], &names[1]), (width, outputs), kernel, 1.0));
            width = outputs;
        }
        let hidden = Linear::before_relu(layout, "hidden", width, Self::HIDDEN);
        Self { features, hidden, fc: Linear::new(layout, "fc", Self::HIDDEN, outputs) }
    }
}

impl Net for CnnReference {
    fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for layer in &self.features {
            // The maximum first: it commutes with ReLU, which then has a quarter of the values to look at.
            let mut y = layer.forward(params, &x, pass)?.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            x = y.f_relu_()?;
        }
        Ok(x)
    }

    fn classify(&self, params: &Params, maps: &Tensor, _pass: Pass) -> Result<Tensor> {
        let x = self.hidden.forward(params, &global_average_pool(maps)?)?.f_relu_()?;
        self.fc.forward(params, &x)
    }
}
