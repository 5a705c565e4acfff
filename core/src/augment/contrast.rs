//! Contrast by up to 30 %.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'contrast'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "contrast", stream: Stream::First(5), step: Step::Tone, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.contrast = 1.0 + draws.symmetric() * 0.3;
}
