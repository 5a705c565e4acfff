//! Gaussian noise of up to 3 % of the range.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'noise'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "noise", stream: Stream::First(7), step: Step::Noise, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.noise_std = (draws.symmetric() * 0.03).abs();
}
