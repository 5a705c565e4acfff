//! Other image processing: in half of the images, each of five frequency bands is multiplied by a gain between 1 / 1.8 and
//! 1.8, as in the multi-frequency processing of radiography systems.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'processing'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "processing", stream: Stream::Own, step: Step::Bands, draw });

/// The largest gain.
const GAIN: f64 = 1.8;

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    changes.gains = changes.gains.map(|gain| gain * (draws.symmetric() * GAIN.ln()).exp());
}
