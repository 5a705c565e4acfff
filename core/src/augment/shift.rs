//! Shift by up to 6 % of the side.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'shift'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "shift", stream: Stream::First(2), step: Step::Geometry, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    (changes.dx, changes.dy) = (draws.symmetric() * 0.12, draws.symmetric() * 0.12);
}
