//! `cnn_reference`: the plain net that comparisons with other systems train, so that both sides do the same work.
//!
//! Four times a 3 x 3 convolution, normalisation, ReLU and a maximum over 2 x 2 pixels, as VGG does (Simonyan &
//! Zisserman 2014, arXiv 1409.1556), then the mean over the picture and two layers: 0.42 million parameters. In PyTorch
//! `features` is a `Sequential` of these sixteen layers, `hidden` and `fc` are `Linear`; `benches/peers/ddp.py` has it.

use tch::Tensor;

use super::Net;
use super::layers::{BatchNorm2d, Conv2d, Linear, global_average_pool};
use super::layout::{Layout, Params};
use crate::error::Result;

/// The net.
#[derive(Debug)]
pub(crate) struct CnnReference {
    features: Vec<(Conv2d, BatchNorm2d)>,
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
            let conv = Conv2d::new(layout, &format!("features.{}", 4 * place), width, outputs, 3, 1);
            let bn = BatchNorm2d::new(layout, &format!("features.{}", 4 * place + 1), outputs, 1.0);
            features.push((conv, bn));
            width = outputs;
        }
        let hidden = Linear::before_relu(layout, "hidden", width, Self::HIDDEN);
        Self { features, hidden, fc: Linear::new(layout, "fc", Self::HIDDEN, outputs) }
    }
}

impl Net for CnnReference {
    fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for (conv, bn) in &self.features {
            let y = bn.forward(params, &conv.forward(params, &x)?, train)?.f_relu_()?;
            x = y.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        let x = self.hidden.forward(params, &global_average_pool(&x)?)?.f_relu_()?;
        self.fc.forward(params, &x)
    }
}
