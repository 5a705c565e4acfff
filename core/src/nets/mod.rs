//! The nets that can be trained, one per file: the name, the source, the default options and the layers as data. The
//! executor computes the layers with libtorch.
//!
//! A new net is a file with a [`Net`] and a line in the list below. The SQL name, the completion, the checks and the
//! table in the manual are made from it.

mod architecture;
mod cnn;
mod cnn_reference;
mod densenet;
mod efficientnet;
mod layers;
mod resnet;
mod svm;
#[cfg(test)]
mod tests;
mod vgg;

pub use architecture::Architecture;
pub use layers::{BatchNorm2d, Conv2d, ConvBn2d, Dropout, Hog, Kernel, Layer, Layers, Linear, Pool2d};

use crate::options::{Features, Loss, Optimizer};
use crate::schedule::{self, Schedule};

/// Adds each net to the registry and as a constant to [`Architecture`].
macro_rules! nets {
    ($($file:ident::$net:ident),+ $(,)?) => {
        /// Every net, in the order of the documentation.
        pub const NETS: &[&Net] = &[$(&$file::$net),+];

        impl Architecture {
            /// Every name that USING takes, in the order of the documentation.
            pub const NAMES: &'static [&'static str] = &[$($file::$net.name),+, Self::ENSEMBLE];

            $(#[doc = concat!("The net of `core/src/nets/", stringify!($file), ".rs`.")]
            pub const $net: Self = Self::Net(&$file::$net);)+
        }
    };
}

nets! {
    cnn::CNN,
    cnn_reference::CNN_REFERENCE,
    vgg::VGG16,
    resnet::RESNET18,
    resnet::RESNET50,
    densenet::DENSENET121,
    efficientnet::EFFICIENTNET_B0,
    svm::SVM,
}

/// The default net.
pub const DEFAULT: &Net = &cnn::CNN;

/// A net that can be trained.
#[derive(Debug)]
pub struct Net {
    /// Its name in `USING name`, in stored models and in messages.
    pub name: &'static str,
    /// The description in the manual, one line of Markdown.
    pub summary: &'static str,
    /// Where it was published, with its number on arXiv; `None` for a net of our own.
    pub paper: Option<&'static str>,
    /// The naming scheme of its tensors.
    pub names: TensorNames,
    /// Its default options.
    pub defaults: Defaults,
    /// Its layers for one shape of images.
    pub layers: fn(&Input) -> Layers,
}

/// The naming scheme of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorNames {
    /// Those of the module of the same name in torchvision, with its shapes in the same order.
    Torchvision,
    /// The names of Tusk.
    Own,
}

/// The options whose defaults depend on the net.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Side of the net input, in pixels.
    pub image_size: u32,
    /// Passes over the training rows.
    pub epochs: u32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Weight decay.
    pub weight_decay: f64,
    /// The learning-rate schedule.
    pub schedule: Schedule,
    /// The loss. `None` is the cross-entropy for the number of classes.
    pub loss: Option<Loss>,
}

impl Defaults {
    /// The defaults of most nets.
    pub const COMMON: Self = Self {
        image_size: 224,
        epochs: 20,
        learning_rate: 1e-3,
        optimizer: Optimizer::Adamw,
        weight_decay: 0.05,
        schedule: schedule::cosine::SCHEDULE,
        loss: None,
    };
}

/// The shape of the input and output of a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Channels of an image.
    pub channels: i64,
    /// Its side, in pixels.
    pub side: i64,
    /// Outputs of the last layer: one for two classes, else usually one per class.
    pub outputs: i64,
    /// The features of an svm.
    pub features: Features,
}

impl Net {
    /// Learned values of the net for grey images of its own size and one output, which two classes need.
    #[must_use]
    pub fn parameters(&self) -> i64 {
        self.plain().parameters()
    }

    /// Returns whether it has feature maps, which heat maps need.
    #[must_use]
    pub fn has_maps(&self) -> bool {
        !self.plain().features.is_empty()
    }

    /// Returns whether a layer normalises with running statistics, which ADAPT MODEL measures again.
    #[must_use]
    pub fn has_normalisation(&self) -> bool {
        self.plain().has_normalisation()
    }

    /// Inputs of the first convolution for each channel of an image: more than one where pixels are folded into
    /// channels first.
    #[must_use]
    pub fn inputs_per_channel(&self) -> i64 {
        match self.plain().features.first() {
            Some(Layer::PixelUnshuffle { factor }) => factor * factor,
            _ => 1,
        }
    }

    fn plain(&self) -> Layers {
        let side = i64::from(self.defaults.image_size);
        (self.layers)(&Input { channels: 1, side, outputs: 1, features: Features::Hog })
    }
}
