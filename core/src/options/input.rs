//! Options of preprocessing and augmentation.

use serde::{Deserialize, Serialize};

use super::accepts::{Either, Number, Quoted, QuotedText, Whole};
use super::declare::options;
use super::{Augment, Intensity, ModelSpec, Resize};
use crate::error::{Error, Result};

options! {
    /// How images are prepared for the net.
    "Input" input: InputOptions {
        /// Side of the square net input, in pixels.
        image_size: u32 = 224, Whole::MultipleOf(32, 1024), [PerNet];
        /// 1 is grey, 3 is RGB.
        channels: u8 = 1, Either(1, 3);
        /// How pixel values are normalized.
        normalize: Normalize = Normalize::FromData, Quoted;
        /// Fraction of the side that is cut off at each border before resizing.
        border_crop: f64 = 0.0, Number::From(0.0, 0.4), before 0.0;
        /// How an image becomes a square: without keeping the ratio of width to height, with black borders, or cut off.
        resize: Resize = Resize::Stretch, Quoted, before Resize::Stretch;
        /// How grey levels are adjusted: by stretching percentiles 1 to 99, or by contrast-limited adaptive histogram
        /// equalisation.
        intensity: Intensity = Intensity::None, Quoted, before Intensity::None;
        /// Random changes to training images.
        augment: Augment = Augment::xray(), Quoted;
        /// Both parameters of the beta distribution of mixup weights; 0 turns mixup off.
        mixup: f64 = 0.0, Number::ZeroOr(0.01, 1.0), before 0.0;
    }
}

pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    if spec.input.resize == Resize::Pad && spec.input.intensity == Intensity::Clahe {
        let message =
            "intensity = 'clahe' would equalize the black borders of resize = 'pad' too; use resize = 'crop' or \
                       'stretch', or another intensity"
                .to_owned();
        return Err(Error::ConflictingOptions { message });
    }
    Ok(())
}

/// Mean and standard deviation for values in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Mean and standard deviation of the training rows.
    FromData,
    /// Pixel values stay in [0, 1].
    None,
    /// Given mean and standard deviation.
    Given {
        /// Mean, in [0, 1].
        mean: f64,
        /// Standard deviation, above 0.
        std: f64,
    },
}

impl QuotedText for Normalize {
    fn from_text(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "data" => Some(Self::FromData),
            "none" => Some(Self::None),
            pair => {
                let (mean, std) = pair.split_once(',')?;
                let (mean, std) = (mean.trim().parse().ok()?, std.trim().parse().ok()?);
                ((0.0..=1.0).contains(&mean) && std > 0.0 && std <= 1.0).then_some(Self::Given { mean, std })
            }
        }
    }

    fn expected() -> String {
        "'data', 'none' or 'mean,std' with a mean from 0 to 1 and a std above 0 and up to 1".to_owned()
    }

    fn to_text(&self) -> String {
        match self {
            Self::FromData => "data".to_owned(),
            Self::None => "none".to_owned(),
            Self::Given { mean, std } => format!("{mean},{std}"),
        }
    }
}

impl QuotedText for Augment {
    fn from_text(text: &str) -> Option<Self> {
        Self::from_text(text)
    }

    fn expected() -> String {
        Self::expected()
    }

    fn to_text(&self) -> String {
        if *self == Self::xray() { "xray".to_owned() } else { self.to_string() }
    }
}
