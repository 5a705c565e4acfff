//! `resnet18` and `resnet50`: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015
//! (arXiv 1512.03385). Tensors are named as torchvision names them.

use tch::Tensor;

use super::layers::{ConvBn2d, Kernel, Linear, ResidualBlock, global_average_pool};
use super::layout::{Layout, Params};
use super::{Net, Pass};
use crate::error::Result;

/// A ResNet of four stages.
#[derive(Debug)]
pub(crate) struct Resnet {
    stem: ConvBn2d,
    layers: Vec<ResidualBlock>,
    fc: Linear,
}

/// Makes a block of this name, these widths of input and output, and this stride.
type MakeBlock = fn(&mut Layout, &str, (i64, i64), i64) -> ResidualBlock;

impl Resnet {
    /// Two basic blocks in each stage.
    pub(crate) fn resnet18(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        Self::new(layout, (channels, outputs), ([2, 2, 2, 2], [64, 128, 256, 512]), ResidualBlock::basic)
    }

    /// Bottleneck blocks, four times as wide at their ends.
    pub(crate) fn resnet50(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        Self::new(layout, (channels, outputs), ([3, 4, 6, 3], [256, 512, 1024, 2048]), ResidualBlock::bottleneck)
    }

    fn new(
        layout: &mut Layout,
        (channels, outputs): (i64, i64),
        (depths, widths): ([usize; 4], [i64; 4]),
        make_block: MakeBlock,
    ) -> Self {
        let stem = ConvBn2d::new(layout, ("conv1", "bn1"), (channels, 64), Kernel { side: 7, stride: 2 }, 1.0);
        let mut width = 64;
        let mut layers = Vec::new();
        for (stage, (depth, outputs)) in depths.into_iter().zip(widths).enumerate() {
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                layers.push(make_block(layout, &name, (width, outputs), stride));
                width = outputs;
            }
        }
        Self { stem, layers, fc: Linear::new(layout, "fc", width, outputs) }
    }
}

impl Net for Resnet {
    fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        // The maximum first: it commutes with ReLU, which then has a quarter of the values to look at.
        let mut x = self.stem.forward(params, x, pass)?.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        x = x.f_relu_()?;
        for layer in &self.layers {
            x = layer.forward(params, &x, pass)?;
        }
        Ok(x)
    }

    fn classify(&self, params: &Params, maps: &Tensor, _pass: Pass) -> Result<Tensor> {
        self.fc.forward(params, &global_average_pool(maps)?)
    }
}
