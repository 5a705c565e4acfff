//! Another frame: of half of the images, up to 15 % of the side are cut off at each border, of each border another amount.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'frame'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "frame", stream: Stream::Own, step: Step::Geometry, draw });

/// The largest fraction of the side that is cut off.
const CUT: f64 = 0.15;

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    let [left, right, top, bottom] = [(); 4].map(|()| draws.uniform() * CUT);
    changes.dx += (left - right) * changes.width;
    changes.dy += (top - bottom) * changes.height;
    changes.width *= 1.0 - left - right;
    changes.height *= 1.0 - top - bottom;
}
