//! A lower resolution: half of the images are interpolated from a copy that is reduced by a factor of up to 2.5, whose pixels
//! are means of areas.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'resample'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "resample", stream: Stream::Own, step: Step::Resample, draw });

/// The largest factor.
pub const FACTOR: f64 = 2.5;

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    changes.reduction = 1.0 + draws.uniform() * (FACTOR - 1.0);
}
