//! Random changes to training pictures, never to validation pictures.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::choices::choices;

choices! {
    /// One kind of change. Every amount is drawn anew per picture and epoch.
    Transform {
        /// Rotation by up to 15 degrees.
        Rotate = "rotate",
        /// Shift by up to 6 % of the side.
        Shift = "shift",
        /// Zoom by up to 15 % in or out.
        Zoom = "zoom",
        /// Shear by up to 6 degrees.
        Shear = "shear",
        /// Brightness by up to 10 % of the range.
        Brightness = "brightness",
        /// Contrast by up to 30 %.
        Contrast = "contrast",
        /// Exponent between 0.61 and 1.65 on values in [0, 1].
        Gamma = "gamma",
        /// Half of the time, blurred or sharpened: a Gaussian of 1.2 % of the side, mixed in by between -0.5 and 1.
        Blur = "blur",
        /// Gaussian noise of up to 3 % of the range.
        Noise = "noise",
        /// One square of up to a quarter of the side replaced by the mean (DeVries & Taylor 2017).
        Cutout = "cutout",
        /// Left and right swapped half of the time. Not for chests: the heart is on the left.
        HorizontalFlip = "horizontal_flip",
    }
}

/// The transforms of a model, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Augment(Vec<Transform>);

impl Augment {
    /// What a chest X-ray bears without becoming another: everything but shear and flips.
    #[must_use]
    pub fn xray() -> Self {
        use Transform::{Blur, Brightness, Contrast, Cutout, Gamma, Noise, Rotate, Shift, Zoom};
        Self(vec![Rotate, Shift, Zoom, Brightness, Contrast, Gamma, Blur, Noise, Cutout])
    }

    /// What [`Self::from_text`] takes.
    #[must_use]
    pub fn expected() -> String {
        format!("'xray', 'none', or a list of {}", Transform::NAMES.join(", "))
    }

    /// The transforms that an option names.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "xray" => Some(Self::xray()),
            "none" => Some(Self::default()),
            list => {
                let transforms = list.split(',').map(|name| Transform::from_name(name.trim()));
                transforms.collect::<Option<Vec<_>>>().map(Self::of)
            }
        }
    }

    /// What makes the further views of test-time augmentation: geometry alone.
    #[must_use]
    pub fn views() -> Self {
        Self(vec![Transform::Rotate, Transform::Shift, Transform::Zoom])
    }

    /// The given transforms, each once.
    #[must_use]
    pub fn of(transforms: impl IntoIterator<Item = Transform>) -> Self {
        let mut kept: Vec<Transform> = Vec::new();
        for transform in transforms {
            if !kept.contains(&transform) {
                kept.push(transform);
            }
        }
        Self(kept)
    }

    /// Whether this transform is on.
    #[must_use]
    pub fn has(&self, transform: Transform) -> bool {
        self.0.contains(&transform)
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            f.write_str("none")
        } else {
            f.write_str(&self.0.iter().map(|t| t.name()).collect::<Vec<_>>().join(", "))
        }
    }
}
