//! Saved again: half of the images are as JPEGs of a quality of 20 to 95 keep them.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'resave'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "resave", stream: Stream::Own, step: Step::Resave, draw });

/// The lowest quality.
const LOWEST: u8 = 20;

/// The number of qualities, up to 95.
const QUALITIES: usize = 76;

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    changes.quality = Some(LOWEST + draws.below(QUALITIES) as u8);
}
