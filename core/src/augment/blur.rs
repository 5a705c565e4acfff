//! Half of the time, blurred or sharpened: a Gaussian of 1.2 % of the side, mixed in by between -0.5 and 1.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'blur'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "blur", stream: Stream::First(10), step: Step::Sharpness, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    let (is_blurred, amount) = (draws.half(), draws.uniform() * 1.5 - 0.5);
    changes.blur = if is_blurred { amount } else { 0.0 };
}
