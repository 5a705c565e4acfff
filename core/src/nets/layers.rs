//! The layers that nets are made of, as data: PyTorch's kinds, and the names that its tensors have.

/// The layers of a net.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    /// Images `[n, channels, side, side]` to feature maps, `[n, features, height, width]`.
    pub features: Vec<Layer>,
    /// Feature maps to `[n, values]` in f32, the input of the head.
    pub classify: Vec<Layer>,
    /// The last layer, whose shape depends on the classes. Its initial weights are small, so that initial probabilities
    /// are nearly equal.
    pub head: Linear,
}

/// A layer. Tensors are registered in the order in which the layers stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A convolution alone, for nets whose normalisation comes before it and for those that have none.
    Conv2d(Conv2d),
    /// A convolution and the normalisation right after it.
    ConvBn2d(ConvBn2d),
    /// A normalisation that follows no convolution.
    BatchNorm2d(BatchNorm2d),
    /// max(x, 0). It commutes with [`Self::MaxPool2d`], and is faster after it.
    Relu,
    /// x times its sigmoid (Elfwing et al. 2017, arXiv 1702.03118).
    Silu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// The maximum over squares.
    MaxPool2d(Pool2d),
    /// The mean over squares.
    AvgPool2d(Pool2d),
    /// Average pooling to maps of this side.
    AdaptiveAvgPool2d {
        /// Height and width of the output.
        side: i64,
    },
    /// The mean over height and width, in f32: `[n, c, h, w]` to `[n, c]`.
    GlobalAvgPool,
    /// `[n, ...]` to `[n, values]`, in f32.
    Flatten,
    /// Folds each square of pixels into channels (Shi et al. 2016, arXiv 1609.05158).
    PixelUnshuffle {
        /// The side of the squares.
        factor: i64,
    },
    /// Histograms of oriented gradients, `[n, channels, side, side]` to `[n, values, blocks]`.
    Hog,
    /// A fully connected layer that ReLU follows, in f32.
    Linear(Linear),
    /// Zeroes values in training.
    Dropout(Dropout),
    /// Zeroes all values of some images in training (Huang et al. 2016, arXiv 1603.09382).
    StochasticDepth(Dropout),
    /// The output of a branch plus the output of a shortcut (He et al. 2015, arXiv 1512.03385).
    Residual {
        /// Registered first.
        branch: Vec<Layer>,
        /// Empty if the input itself is added.
        shortcut: Vec<Layer>,
    },
    /// The input times the output of a branch, such as a factor per channel (Hu et al. 2017, arXiv 1709.01507).
    Scale {
        /// The branch.
        branch: Vec<Layer>,
    },
    /// The input concatenated with the output of a branch along the channels (Huang et al. 2016, arXiv 1608.06993).
    DenseConcat {
        /// The branch.
        branch: Vec<Layer>,
    },
}

/// The kernel of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Odd; the padding keeps the size at stride 1.
    pub side: i64,
    /// The stride.
    pub stride: i64,
}

impl Kernel {
    /// 1 x 1 at stride 1.
    pub const POINT: Self = Self { side: 1, stride: 1 };
    /// 3 x 3 at stride 1.
    pub const THREE: Self = Self { side: 3, stride: 1 };
}

/// A square convolution. Weights start as He et al. 2015 (arXiv 1502.01852) have it, by outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Of the layer: its tensors are `{name}.weight` and `{name}.bias`.
    pub name: String,
    /// Channels of the input.
    pub inputs: i64,
    /// Channels of the output.
    pub outputs: i64,
    /// Its side and stride.
    pub kernel: Kernel,
    /// Whether it has a bias, for nets without normalisation.
    pub bias: bool,
    /// Groups of channels. Each group of outputs depends only on its own group of inputs.
    pub groups: i64,
}

impl Conv2d {
    /// Makes a convolution without bias, with these numbers of channels.
    #[must_use]
    pub fn new(name: impl Into<String>, (inputs, outputs): (i64, i64), kernel: Kernel) -> Self {
        Self { name: name.into(), inputs, outputs, kernel, bias: false, groups: 1 }
    }

    /// The same with bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// The same with a group for each channel of the input.
    #[must_use]
    pub fn depthwise(self) -> Self {
        Self { groups: self.inputs, ..self }
    }

    /// The shape of its weight, `[outputs, inputs / groups, side, side]`.
    #[must_use]
    pub fn shape(&self) -> [i64; 4] {
        [self.outputs, self.inputs / self.groups, self.kernel.side, self.kernel.side]
    }

    fn parameters(&self) -> i64 {
        self.shape().iter().product::<i64>() + if self.bias { self.outputs } else { 0 }
    }
}

/// A convolution without bias and the normalisation after it. For prediction the two are folded into one convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvBn2d {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation of its outputs.
    pub bn: BatchNorm2d,
}

impl ConvBn2d {
    /// `conv` and `bn` are the layers' names.
    #[must_use]
    pub fn new((conv, bn): (impl Into<String>, impl Into<String>), widths: (i64, i64), kernel: Kernel) -> Self {
        Self { conv: Conv2d::new(conv, widths, kernel), bn: BatchNorm2d::new(bn, widths.1) }
    }

    /// The same with a group for each channel of the input.
    #[must_use]
    pub fn depthwise(self) -> Self {
        Self { conv: self.conv.depthwise(), ..self }
    }

    /// The same as the last of a residual branch, which starts as the identity (Goyal et al. 2017, arXiv 1706.02677).
    #[must_use]
    pub fn starting_at_zero(mut self) -> Self {
        self.bn.scale = 0.0;
        self
    }
}

/// Batch normalisation over N, H and W (Ioffe & Szegedy 2015, arXiv 1502.03167), with PyTorch's momentum and epsilon.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm2d {
    /// Of the layer: its tensors are `{name}.weight`, `.bias`, `.running_mean` and `.running_var`.
    pub name: String,
    /// Channels.
    pub features: i64,
    /// Where the learned scale starts.
    pub scale: f32,
}

impl BatchNorm2d {
    /// One whose scale starts at 1.
    #[must_use]
    pub fn new(name: impl Into<String>, features: i64) -> Self {
        Self { name: name.into(), features, scale: 1.0 }
    }
}

/// Squares over which a maximum or a mean is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Their side.
    pub side: i64,
    /// How far apart they are.
    pub stride: i64,
    /// What is added at each border.
    pub padding: i64,
}

impl Pool2d {
    /// 2 x 2 values, apart.
    pub const HALF: Self = Self { side: 2, stride: 2, padding: 0 };
    /// 3 x 3 values that overlap.
    pub const OVERLAPPING: Self = Self { side: 3, stride: 2, padding: 1 };
}

/// A fully connected layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Of the layer: its tensors are `{name}.weight` and `{name}.bias`.
    pub name: String,
    /// Values that it takes.
    pub inputs: i64,
    /// Values that it makes.
    pub outputs: i64,
}

impl Linear {
    /// Makes a layer with this name and these numbers of inputs and outputs.
    #[must_use]
    pub fn new(name: impl Into<String>, inputs: i64, outputs: i64) -> Self {
        Self { name: name.into(), inputs, outputs }
    }

    fn parameters(&self) -> i64 {
        (self.inputs + 1) * self.outputs
    }
}

/// Zeroes a fraction of its input in training, and scales up the rest to keep the mean (Srivastava et al. 2014).
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The layer before it: each draws from a stream of its own.
    pub name: String,
    /// The fraction, from 0 to below 1.
    pub fraction: f64,
}

/// Histograms of oriented gradients (Dalal & Triggs 2005): their best results: 9 orientations without sign, cells of
/// 8 x 8 pixels, and overlapping blocks of 2 x 2 cells, each normalised, clipped at 0.2 and normalised again (L2-Hys).
#[derive(Clone, Copy, Debug)]
pub struct Hog;

impl Hog {
    /// Orientations in half a turn.
    pub const ORIENTATIONS: i64 = 9;
    /// Side of a cell, in pixels.
    pub const CELL: i64 = 8;
    /// Side of a block, in cells.
    pub const BLOCK: i64 = 2;
    /// The largest value of a block that was normalised once.
    pub const CLIP: f64 = 0.2;

    /// Values of an image of this side.
    #[must_use]
    pub fn values(side: i64) -> i64 {
        Self::ORIENTATIONS * Self::BLOCK.pow(2) * (side / Self::CELL - Self::BLOCK + 1).max(0).pow(2)
    }
}

impl Layers {
    /// Learned values of the net.
    #[must_use]
    pub fn parameters(&self) -> i64 {
        parameters(&self.features) + parameters(&self.classify) + self.head.parameters()
    }

    /// Returns whether a layer normalises with running statistics.
    #[must_use]
    pub fn has_normalisation(&self) -> bool {
        has_normalisation(&self.features) || has_normalisation(&self.classify)
    }
}

fn has_normalisation(layers: &[Layer]) -> bool {
    layers.iter().any(|layer| match layer {
        Layer::ConvBn2d(_) | Layer::BatchNorm2d(_) => true,
        Layer::Residual { branch, shortcut } => has_normalisation(branch) || has_normalisation(shortcut),
        Layer::DenseConcat { branch } | Layer::Scale { branch } => has_normalisation(branch),
        _ => false,
    })
}

fn parameters(layers: &[Layer]) -> i64 {
    let of = |layer: &Layer| match layer {
        Layer::Conv2d(conv) => conv.parameters(),
        Layer::ConvBn2d(ConvBn2d { conv, bn }) => conv.parameters() + 2 * bn.features,
        Layer::BatchNorm2d(bn) => 2 * bn.features,
        Layer::Linear(linear) => linear.parameters(),
        Layer::Residual { branch, shortcut } => parameters(branch) + parameters(shortcut),
        Layer::DenseConcat { branch } | Layer::Scale { branch } => parameters(branch),
        Layer::Relu
        | Layer::Silu
        | Layer::Sigmoid
        | Layer::MaxPool2d(_)
        | Layer::AvgPool2d(_)
        | Layer::AdaptiveAvgPool2d { .. }
        | Layer::GlobalAvgPool
        | Layer::Flatten
        | Layer::PixelUnshuffle { .. }
        | Layer::Hog
        | Layer::Dropout(_)
        | Layer::StochasticDepth(_) => 0,
    };
    layers.iter().map(of).sum()
}
