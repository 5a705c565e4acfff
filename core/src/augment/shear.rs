//! Shear by up to 6 degrees.

use std::f64::consts::PI;

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'shear'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "shear", stream: Stream::First(9), step: Step::Geometry, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.shear = draws.symmetric() * (6.0 * PI / 180.0).tan();
}
