//! `resnet18`: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015
//! (arXiv 1512.03385). Tensors are named as torchvision names them.

use tch::Tensor;

use super::Net;
use super::layers::{BasicBlock, ConvBn2d, Kernel, Linear, global_average_pool};
use super::layout::{Layout, Params};
use crate::error::Result;

/// A ResNet of basic blocks.
#[derive(Debug)]
pub(crate) struct Resnet {
    stem: ConvBn2d,
    layers: Vec<BasicBlock>,
    fc: Linear,
}

impl Resnet {
    /// Two blocks in each of four stages.
    pub(crate) fn resnet18(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        let stem = ConvBn2d::new(layout, ("conv1", "bn1"), (channels, 64), Kernel { side: 7, stride: 2 }, 1.0);
        let mut width = 64;
        let mut layers = Vec::new();
        for (stage, outputs) in [64, 128, 256, 512].into_iter().enumerate() {
            for block in 0..2 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                layers.push(BasicBlock::new(layout, &name, width, outputs, stride));
                width = outputs;
            }
        }
        Self { stem, layers, fc: Linear::new(layout, "fc", width, outputs) }
    }
}

impl Net for Resnet {
    fn forward(&self, params: &Params, x: &Tensor, train: bool) -> Result<Tensor> {
        // The maximum first: it commutes with ReLU, which then has a quarter of the values to look at.
        let mut x = self.stem.forward(params, x, train)?.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        x = x.f_relu_()?;
        for layer in &self.layers {
            x = layer.forward(params, &x, train)?;
        }
        self.fc.forward(params, &global_average_pool(&x)?)
    }
}
