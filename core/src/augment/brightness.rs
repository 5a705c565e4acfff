//! Brightness by up to 10 % of the range.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'brightness'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "brightness", stream: Stream::First(6), step: Step::Tone, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.brightness = draws.symmetric() * 0.1;
}
