//! Half of the images are stretched by up to 1.65 : 1 in one direction, as if the original had another ratio of width to height.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'stretch'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "stretch", stream: Stream::Own, step: Step::Geometry, draw });

/// The largest ratio.
const RATIO: f64 = 1.65;

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    let amount = draws.symmetric() * RATIO.ln();
    // A strip is cut off at two opposite borders, so that nothing outside of the image is seen.
    if amount < 0.0 {
        changes.width *= amount.exp();
    } else {
        changes.height *= (-amount).exp();
    }
}
