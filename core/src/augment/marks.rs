//! Marks near the borders: on half of the images, one to three rectangles of 4 % x 2 % to 20 % x 10 % of the side are wiped
//! out or written on. They lie within a fifth of the side from a border.

use super::{Changes, Definition, Draws, Step, Stream, Transform};

/// `augment = 'marks'`.
pub const TRANSFORM: Transform = Transform(&Definition { name: "marks", stream: Stream::Own, step: Step::Marks, draw });

/// The largest number of marks of an image.
const MARKS: usize = 3;

/// The largest width, as a fraction of the side.
const WIDTH: f64 = 0.2;

/// The largest height, as a fraction of the side.
const HEIGHT: f64 = 0.1;

/// The smallest width and height, as fractions of the largest.
const SMALLEST: f64 = 0.2;

/// How far from a border marks reach, as a fraction of the side. It is not less than a mark needs.
const BAND: f64 = 0.2;

/// A rectangle that is wiped out or written on, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its first column.
    pub left: usize,
    /// Its first row.
    pub top: usize,
    /// Its number of columns, at least 1.
    pub width: usize,
    /// Its number of rows, at least 1.
    pub height: usize,
    /// What it shows.
    pub fill: Fill,
}

/// What a mark shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The level 0.
    Black,
    /// The level 1.
    White,
    /// The mean level of the image.
    Mean,
    /// The outline of a letter: white, with black inside.
    Letter,
}

impl Fill {
    /// Every fill, in the order in which they are drawn. Each is drawn equally often.
    pub const ALL: [Self; 4] = [Self::Black, Self::White, Self::Mean, Self::Letter];
}

fn draw(draws: &mut Draws<'_>, changes: &mut Changes) {
    if draws.half() {
        return;
    }
    for _ in 0..=draws.below(MARKS) {
        changes.marks.push(mark(draws));
    }
}

/// Draws a mark: its size, its fill, and its place along one of the four borders.
fn mark(draws: &mut Draws<'_>) -> Mark {
    let side = draws.side();
    let mut length = |largest: f64| pixels(side, largest * (SMALLEST + (1.0 - SMALLEST) * draws.uniform()));
    let (width, height) = (length(WIDTH), length(HEIGHT));
    let (fill, border) = (Fill::ALL[draws.below(Fill::ALL.len())], draws.below(4));
    let mut place = |room: usize, length: usize| draws.below(room.saturating_sub(length) + 1);
    let band = pixels(side, BAND);
    let last = side.saturating_sub(band);
    let (left, top) = match border {
        0 => (place(side, width), place(band, height)),
        1 => (place(side, width), last + place(band, height)),
        2 => (place(band, width), place(side, height)),
        _ => (last + place(band, width), place(side, height)),
    };
    Mark { left, top, width, height, fill }
}

fn pixels(side: usize, fraction: f64) -> usize {
    (side as f64 * fraction).round().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_within_small_images_too() {
        for side in 1..40 {
            for share in [0.5, 0.7, 0.999_999] {
                let mut changes = Changes::default();
                draw(&mut Draws::new(&mut || share, side), &mut changes);
                assert!(!changes.marks.is_empty());
                let is_inside = |mark: &Mark| mark.left + mark.width <= side && mark.top + mark.height <= side;
                assert!(changes.marks.iter().all(is_inside), "side {side}: {:?}", changes.marks);
            }
        }
    }
}
