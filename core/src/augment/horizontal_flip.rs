//! Left and right are swapped half of the time. Not for chests: the heart is on the left.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'horizontal_flip'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "horizontal_flip", stream: Stream::First(3), step: Step::Geometry, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.is_flipped = draws.symmetric() > 0.0;
}
