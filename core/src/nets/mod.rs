//! The nets that can be trained, one per file: what each is called, where it comes from, what it trains with when a
//! statement does not say, and its layers as data. The executor computes them; nothing here needs libtorch.
//!
//! A new net is a file with a [`Net`] and a line in the list below. Its name in SQL, the completion, the checks and the
//! page of nets in the manual follow from it.

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

/// Makes of each line a net of the registry and a constant of [`Architecture`].
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

/// The net that is trained where a statement names none.
pub const DEFAULT: &Net = &cnn::CNN;

/// A net that can be trained.
#[derive(Debug)]
pub struct Net {
    /// Its name in `USING name`, in stored models and in messages.
    pub name: &'static str,
    /// What the manual says of it, one line of Markdown.
    pub summary: &'static str,
    /// Where it was published, with its number on arXiv; `None` for a net of our own.
    pub paper: Option<&'static str>,
    /// Whose names its tensors have, so that weights load by name.
    pub names: TensorNames,
    /// What it trains with when the statement does not say.
    pub defaults: Defaults,
    /// Its layers for images of one kind.
    pub layers: fn(&Input) -> Layers,
}

/// Whose names the tensors of a net have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorNames {
    /// Those of the module of the same name in torchvision, with its shapes in the same order.
    Torchvision,
    /// Ours.
    Own,
}

/// The options whose defaults depend on the net.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// The side of the square image that the net is made for, in pixels.
    pub image_size: u32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// How weights follow gradients.
    pub optimizer: Optimizer,
    /// Weight decay.
    pub weight_decay: f64,
    /// How the learning rate moves over a run.
    pub schedule: Schedule,
    /// What is minimised; `None` is the cross-entropy that the number of classes asks for.
    pub loss: Option<Loss>,
}

impl Defaults {
    /// What most nets train with: those that do not say otherwise.
    pub const COMMON: Self = Self {
        image_size: 224,
        learning_rate: 1e-3,
        optimizer: Optimizer::Adamw,
        weight_decay: 0.05,
        schedule: schedule::cosine::SCHEDULE,
        loss: None,
    };
}

/// What a net is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Channels of an image.
    pub channels: i64,
    /// Its side, in pixels.
    pub side: i64,
    /// Numbers that the last layer answers with: one for two classes, else usually one per class.
    pub outputs: i64,
    /// What a support vector machine sees of it.
    pub features: Features,
}

impl Net {
    /// Learned values of the net for grey images of its own size and one output, which two classes need.
    #[must_use]
    pub fn parameters(&self) -> i64 {
        self.plain().parameters()
    }

    /// Whether it has maps of what was found where, which an explanation can weigh.
    #[must_use]
    pub fn has_maps(&self) -> bool {
        !self.plain().features.is_empty()
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
