//! Exponent between 0.61 and 1.65 on values in [0, 1].

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'gamma'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "gamma", stream: Stream::First(4), step: Step::Gamma, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    changes.gamma = (draws.symmetric() * 0.5).exp();
}
