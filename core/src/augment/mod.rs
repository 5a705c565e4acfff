//! Random changes to training images, never to validation images: one file each, one line each in [`TRANSFORMS`].
//!
//! A transform draws its amounts and says how they change an image. The executor computes the changes, in the order of
//! [`Step`].

pub mod blur;
pub mod brightness;
pub mod contrast;
pub mod cutout;
pub mod frame;
pub mod gamma;
pub mod horizontal_flip;
pub mod marks;
pub mod noise;
pub mod processing;
pub mod resample;
pub mod resave;
pub mod rotate;
pub mod shear;
pub mod shift;
pub mod stretch;
pub mod zoom;

use self::marks::Mark;
use crate::registry::registered;

/// Every transform, in the order of the documentation.
pub const TRANSFORMS: &[Transform] = &[
    rotate::TRANSFORM,
    shift::TRANSFORM,
    zoom::TRANSFORM,
    shear::TRANSFORM,
    stretch::TRANSFORM,
    frame::TRANSFORM,
    processing::TRANSFORM,
    marks::TRANSFORM,
    resample::TRANSFORM,
    resave::TRANSFORM,
    brightness::TRANSFORM,
    contrast::TRANSFORM,
    gamma::TRANSFORM,
    blur::TRANSFORM,
    noise::TRANSFORM,
    cutout::TRANSFORM,
    horizontal_flip::TRANSFORM,
];

registered! {
    /// One kind of change: one of [`TRANSFORMS`]. Every amount is drawn anew per image and epoch.
    Transform, Definition, TRANSFORMS
}

/// What a transform is.
struct Definition {
    /// What the option `augment` calls it.
    name: &'static str,
    /// Which random numbers it gets.
    stream: Stream,
    /// What its changes are part of.
    step: Step,
    /// Draws its amounts.
    draw: fn(&mut Draws<'_>, &mut Changes),
}

/// Which random numbers a transform gets. Models are bit-identical over versions only if they stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A stream of its own. Every new transform has one.
    Own,
    /// The stream that the first transforms share, at this place. There everything is drawn, used or not, so that a transform
    /// draws the same whichever others are on.
    First(u8),
}

/// The steps in which changes are computed, in their order: that of a site, which takes an image, processes it, writes on it,
/// reduces it and saves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Where each pixel comes from.
    Geometry,
    /// A gain per frequency band.
    Bands,
    /// Blurred or sharpened.
    Sharpness,
    /// An exponent.
    Gamma,
    /// A factor and a summand.
    Tone,
    /// Gaussian noise is added.
    Noise,
    /// Rectangles are wiped out or written on.
    Marks,
    /// Reduced, and interpolated to the same size.
    Resample,
    /// Saved as a JPEG.
    Resave,
    /// A square is replaced, after normalisation.
    Cutout,
}

/// Number of frequency bands. Sides of net inputs are multiples of 2 to this power.
pub const BANDS: usize = 5;

/// How an image is changed. The default changes nothing.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Rotation in radians, counterclockwise.
    pub angle: f64,
    /// Factor on the visible part.
    pub zoom: f64,
    /// Shift to the right, where the side is 2.
    pub dx: f64,
    /// Shift down, where the side is 2.
    pub dy: f64,
    /// Shift of a row per row.
    pub shear: f64,
    /// Factor on the visible part of the width, besides `zoom`.
    pub width: f64,
    /// Factor on the visible part of the height, besides `zoom`.
    pub height: f64,
    /// Whether left and right are swapped.
    pub is_flipped: bool,
    /// Factors on the frequency bands, the finest first. A band is the difference between an image and its copy at half the
    /// resolution; what is left after the last one stays.
    pub gains: [f64; BANDS],
    /// Exponent on values in [0, 1].
    pub gamma: f64,
    /// Factor on the distance to 0.5.
    pub contrast: f64,
    /// Added to values in [0, 1].
    pub brightness: f64,
    /// How much of a blurred copy is mixed in. It is taken away below 0, which sharpens.
    pub blur: f64,
    /// Standard deviation of the noise.
    pub noise_std: f64,
    /// The rectangles that are wiped out or written on. Later ones are above earlier ones.
    pub marks: Vec<Mark>,
    /// How many times smaller, in each direction, the copy is from which the image is interpolated. Its side is rounded up to
    /// whole pixels. 1 keeps the image.
    pub reduction: f64,
    /// The quality of the JPEG as which the image is saved, of 1 to 100.
    pub quality: Option<u8>,
    /// Left, top and side of the square that is replaced, in pixels.
    pub cutout: (usize, usize, usize),
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            angle: 0.0,
            zoom: 1.0,
            dx: 0.0,
            dy: 0.0,
            shear: 0.0,
            width: 1.0,
            height: 1.0,
            is_flipped: false,
            gains: [1.0; BANDS],
            gamma: 1.0,
            contrast: 1.0,
            brightness: 0.0,
            blur: 0.0,
            noise_std: 0.0,
            marks: Vec::new(),
            reduction: 1.0,
            quality: None,
            cutout: (0, 0, 0),
        }
    }
}

/// The random numbers of a transform.
pub struct Draws<'a> {
    uniform: &'a mut dyn FnMut() -> f64,
    side: usize,
}

impl std::fmt::Debug for Draws<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draws").field("side", &self.side).finish_non_exhaustive()
    }
}

impl<'a> Draws<'a> {
    /// Draws from `uniform`, which gives numbers in [0, 1), for an image of `side` pixels.
    pub fn new(uniform: &'a mut dyn FnMut() -> f64, side: usize) -> Self {
        Self { uniform, side }
    }

    /// A number in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.uniform)()
    }

    /// A number in [-1, 1).
    pub fn symmetric(&mut self) -> f64 {
        self.uniform() * 2.0 - 1.0
    }

    /// True for half of the images.
    pub fn half(&mut self) -> bool {
        self.uniform() < 0.5
    }

    /// A whole number in `0..count`, or 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// The side of the image, in pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }
}

impl Transform {
    /// Which random numbers it gets.
    #[must_use]
    pub const fn stream(self) -> Stream {
        self.0.stream
    }

    /// What its changes are part of.
    #[must_use]
    pub const fn step(self) -> Step {
        self.0.step
    }

    /// Draws its amounts into `changes`.
    pub fn draw(self, draws: &mut Draws<'_>, changes: &mut Changes) {
        (self.0.draw)(draws, changes);
    }
}

/// The transforms that share a stream, in the order in which they draw.
#[must_use]
pub fn first() -> Vec<Transform> {
    let place = |transform: &Transform| match transform.stream() {
        Stream::First(place) => Some(place),
        Stream::Own => None,
    };
    let mut first: Vec<Transform> = TRANSFORMS.iter().copied().filter(|transform| place(transform).is_some()).collect();
    first.sort_by_key(place);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_that_share_a_stream_have_different_places() {
        let places: Vec<Stream> = first().into_iter().map(Transform::stream).collect();
        assert_eq!(places, (0..11).map(Stream::First).collect::<Vec<_>>());
    }

    #[test]
    fn a_transform_is_written_as_its_name() {
        for transform in TRANSFORMS {
            let text = serde_json::to_string(transform).unwrap();
            assert_eq!(text, format!("\"{transform}\""));
            assert_eq!(serde_json::from_str::<Transform>(&text).unwrap(), *transform);
        }
    }

    #[test]
    fn each_transform_changes_something() {
        for transform in TRANSFORMS {
            let mut changes = Changes::default();
            let mut draw = || 0.9;
            // A blur needs a number below a half first.
            let mut first = [0.1].into_iter();
            let mut blurred = || first.next().unwrap_or(0.9);
            let uniform: &mut dyn FnMut() -> f64 = if *transform == blur::TRANSFORM { &mut blurred } else { &mut draw };
            transform.draw(&mut Draws::new(uniform, 100), &mut changes);
            assert_ne!(format!("{changes:?}"), format!("{:?}", Changes::default()), "{transform}");
        }
    }
}
