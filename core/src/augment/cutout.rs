//! One square of up to a quarter of the side is replaced by the mean (DeVries & Taylor 2017).

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'cutout'`.
pub const TRANSFORM: Transform =
    Transform(&Definition { name: "cutout", stream: Stream::First(8), step: Step::Cutout, draw });

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    let side = draws.side();
    let square = ((draws.uniform() * 0.25) * side as f64) as usize;
    let mut place = || (draws.uniform() * (side - square) as f64) as usize;
    changes.cutout = (place(), place(), square);
}
