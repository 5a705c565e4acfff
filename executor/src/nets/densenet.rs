//! `densenet121`: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional Networks", 2016
//! (arXiv 1608.06993), the net of CheXNet (arXiv 1711.05225). Tensors are named as torchvision names them.

use tch::Tensor;

use super::layers::{BatchNorm2d, Conv2d, ConvBn2d, Kernel, Linear, global_average_pool};
use super::layout::{Layout, Params};
use super::{Net, Pass};
use crate::error::Result;

/// The net.
#[derive(Debug)]
pub(crate) struct Densenet121 {
    stem: ConvBn2d,
    /// Blocks, and the transition after each but the last.
    blocks: Vec<(Vec<DenseLayer>, Option<Transition>)>,
    norm: BatchNorm2d,
    head: Linear,
}

/// Normalisation and ReLU before each of its two convolutions; what it finds is put beside what it saw.
#[derive(Debug)]
struct DenseLayer {
    norm: BatchNorm2d,
    squeeze: ConvBn2d,
    conv: Conv2d,
}

/// Half the channels, a quarter of the positions.
#[derive(Debug)]
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

const POINT: Kernel = Kernel { side: 1, stride: 1 };

impl Densenet121 {
    /// The last layer.
    pub(crate) const HEAD: &'static str = "classifier";
    const STEM: i64 = 64;
    /// Layers of each block.
    const BLOCKS: [usize; 4] = [6, 12, 24, 16];
    /// Channels that a layer adds, and that its first convolution makes.
    const GROWTH: i64 = 32;
    const SQUEEZED: i64 = 4 * Self::GROWTH;

    pub(crate) fn new(layout: &mut Layout, channels: i64, outputs: i64) -> Self {
        let names = ("features.conv0", "features.norm0");
        let stem = ConvBn2d::new(layout, names, (channels, Self::STEM), Kernel { side: 7, stride: 2 }, 1.0);
        let mut width = Self::STEM;
        let mut blocks = Vec::new();
        for (place, depth) in (1..).zip(Self::BLOCKS) {
            let mut layers = Vec::new();
            for layer in 1..=depth {
                let name = format!("features.denseblock{place}.denselayer{layer}");
                layers.push(DenseLayer::new(layout, &name, width));
                width += Self::GROWTH;
            }
            let transition = (place < Self::BLOCKS.len())
                .then(|| Transition::new(layout, &format!("features.transition{place}"), width));
            width /= if transition.is_some() { 2 } else { 1 };
            blocks.push((layers, transition));
        }
        let norm = BatchNorm2d::new(layout, "features.norm5", width, 1.0);
        Self { stem, blocks, norm, head: Linear::new(layout, Self::HEAD, width, outputs) }
    }
}

impl DenseLayer {
    fn new(layout: &mut Layout, name: &str, inputs: i64) -> Self {
        let norm = BatchNorm2d::new(layout, &format!("{name}.norm1"), inputs, 1.0);
        let names = [format!("{name}.conv1"), format!("{name}.norm2")];
        let widths = (inputs, Densenet121::SQUEEZED);
        let squeeze = ConvBn2d::new(layout, (&names[0], &names[1]), widths, POINT, 1.0);
        let widths = (Densenet121::SQUEEZED, Densenet121::GROWTH);
        let conv = Conv2d::new(layout, &format!("{name}.conv2"), widths, Kernel { side: 3, stride: 1 });
        Self { norm, squeeze, conv }
    }

    fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let y = self.norm.forward(params, x, pass.trains())?.f_relu_()?;
        self.conv.forward(params, &self.squeeze.forward(params, &y, pass)?.f_relu_()?)
    }
}

impl Transition {
    fn new(layout: &mut Layout, name: &str, inputs: i64) -> Self {
        let norm = BatchNorm2d::new(layout, &format!("{name}.norm"), inputs, 1.0);
        Self { norm, conv: Conv2d::new(layout, &format!("{name}.conv"), (inputs, inputs / 2), POINT) }
    }

    fn forward(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let y = self.norm.forward(params, x, pass.trains())?.f_relu_()?;
        Ok(self.conv.forward(params, &y)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)?)
    }
}

impl Net for Densenet121 {
    fn features(&self, params: &Params, x: &Tensor, pass: Pass) -> Result<Tensor> {
        // The maximum first: it commutes with ReLU, which then has a quarter of the values to look at.
        let mut x = self.stem.forward(params, x, pass)?.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        x = x.f_relu_()?;
        for (layers, transition) in &self.blocks {
            for layer in layers {
                let found = layer.forward(params, &x, pass)?;
                x = Tensor::f_cat(&[x, found], 1)?;
            }
            if let Some(transition) = transition {
                x = transition.forward(params, &x, pass)?;
            }
        }
        Ok(self.norm.forward(params, &x, pass.trains())?.f_relu_()?)
    }

    fn classify(&self, params: &Params, maps: &Tensor, _pass: Pass) -> Result<Tensor> {
        self.head.forward(params, &global_average_pool(maps)?)
    }
}
