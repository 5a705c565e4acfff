//! Zoom by up to 15 % in or out.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'zoom'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "zoom", stream: Stream::First(1), step: Step::Geometry, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.zoom = 1.0 + draws.symmetric() * 0.15;
}
