//! The option `augment`: which random changes are made to training images.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::augment::{
    Step, Transform, blur, brightness, contrast, cutout, frame, gamma, noise, processing, rotate, shift, stretch, zoom,
};

/// The transforms of a model, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Augment(Vec<Transform>);

impl Augment {
    /// The transforms that leave the diagnosis of a chest X-ray as it is. Of those for other sites, `marks`, `resample` and
    /// `resave` are not among them.
    #[must_use]
    pub fn xray() -> Self {
        Self(vec![
            rotate::TRANSFORM,
            shift::TRANSFORM,
            zoom::TRANSFORM,
            stretch::TRANSFORM,
            frame::TRANSFORM,
            processing::TRANSFORM,
            brightness::TRANSFORM,
            contrast::TRANSFORM,
            gamma::TRANSFORM,
            blur::TRANSFORM,
            noise::TRANSFORM,
            cutout::TRANSFORM,
        ])
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
        Self(vec![rotate::TRANSFORM, shift::TRANSFORM, zoom::TRANSFORM])
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

    /// The transforms that are on.
    pub fn transforms(&self) -> impl Iterator<Item = Transform> {
        self.0.iter().copied()
    }

    /// Whether a transform of this step is on.
    #[must_use]
    pub fn does(&self, step: Step) -> bool {
        self.transforms().any(|transform| transform.step() == step)
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
