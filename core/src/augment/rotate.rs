//! Rotation by up to 15 degrees.

use std::f64::consts::PI;

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'rotate'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "rotate", stream: Stream::First(0), step: Step::Geometry, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.angle = draws.symmetric() * (15.0 * PI / 180.0);
}
