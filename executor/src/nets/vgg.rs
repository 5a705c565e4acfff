//! `vgg16`: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
//! (arXiv 1409.1556), configuration D: 138 million parameters at a thousand classes, 134 million at one output. Tensors
//! are named as torchvision names them.

use tch::{Kind, Tensor};

use super::layers::{Conv2d, Dropout, Kernel, Linear};
use super::layout::{Layout, Params};
use super::{Net, Pass};
use crate::error::Result;

/// The net.
#[derive(Debug)]
pub(crate) struct Vgg16 {
    /// The convolutions of each stage; a maximum over 2 x 2 pixels follows each.
    stages: Vec<Vec<Conv2d>>,
    hidden: [(Linear, Dropout); 2],
    head: Linear,
}

impl Vgg16 {
    /// The last layer.
    pub(crate) const HEAD: &'static str = "classifier.6";
    /// Convolutions and width of each stage.
    const STAGES: [(usize, i64); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
    const HIDDEN: i64 = 4096;
    /// Side of what the fully connected layers see.
    const POOLED: i64 = 7;

    pub(crate) fn new(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        let (mut width, mut place) = (channels, 0);
        let mut stages = Vec::new();
        for (depth, outputs) in Self::STAGES {
            let mut stage = Vec::new();
            for _ in 0..depth {
                let kernel = Kernel { side: 3, stride: 1 };
                stage.push(Conv2d::with_bias(layout, &format!("features.{place}"), (width, outputs), kernel));
                width = outputs;
                // A convolution and ReLU each have a place in the sequence.
                place += 2;
            }
            place += 1;
            stages.push(stage);
        }
        let inputs = width * Self::POOLED * Self::POOLED;
        let mut hidden = |name, inputs| (Linear::before_relu(layout, name, inputs, Self::HIDDEN), Dropout::half(name));
        let hidden = [hidden("classifier.0", inputs), hidden("classifier.3", Self::HIDDEN)];
        Self { stages, hidden, head: Linear::new(layout, Self::HEAD, Self::HIDDEN, outputs) }
    }
}

impl Net for Vgg16 {
    fn features(&self, params: &Params, x: &Tensor, _pass: Pass) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for stage in &self.stages {
            for layer in stage {
                x = layer.forward(params, &x)?.f_relu_()?;
            }
            x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        Ok(x)
    }

    fn classify(&self, params: &Params, maps: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = maps.f_adaptive_avg_pool2d([Self::POOLED; 2])?.f_flatten(1, -1)?.f_to_kind(Kind::Float)?;
        for (layer, dropout) in &self.hidden {
            x = dropout.forward(&layer.forward(params, &x)?.f_relu_()?, pass)?;
        }
        self.head.forward(params, &x)
    }
}
