//! Changes of the place of things in an image.

use super::super::resize::{Part, resize_part_bicubic};
use super::super::{Pixels, PixelsError};

/// The factor of the stretched images.
pub(super) const STRETCH: f64 = 1.2;

/// The angle of a turned image, in degrees.
const ANGLE: f64 = 10.0;

/// A shifted image is shifted by its side divided by this.
const SHIFT: f64 = 16.0;

/// Resizes the middle of an image to the whole size: these fractions, above 0 and up to 1, of its columns and rows.
pub(super) fn middle(pixels: &Pixels, columns: f64, rows: f64) -> Result<Pixels, PixelsError> {
    let (width, height) = (f64::from(pixels.width), f64::from(pixels.height));
    let part = Part {
        left: width * (1.0 - columns) / 2.0,
        top: height * (1.0 - rows) / 2.0,
        columns: width * columns,
        rows: height * rows,
    };
    resize_part_bicubic(pixels, part, pixels.width, pixels.height)
}

/// Turns an image clockwise about its middle.
pub(super) fn turned(pixels: &Pixels) -> Result<Pixels, PixelsError> {
    let (sine, cosine) = ANGLE.to_radians().sin_cos();
    let [middle_x, middle_y] = [pixels.width, pixels.height].map(|side| (f64::from(side) - 1.0) / 2.0);
    sampled(pixels, |x, y| {
        // Rows count downwards, so this turns the place back, counterclockwise.
        let (right, down) = (x - middle_x, y - middle_y);
        (middle_x + right * cosine + down * sine, middle_y - right * sine + down * cosine)
    })
}

/// Shifts an image right and down, by whole pixels so that it is not blurred.
pub(super) fn shifted(pixels: &Pixels) -> Result<Pixels, PixelsError> {
    let [right, down] = [pixels.width, pixels.height].map(|side| (f64::from(side) / SHIFT).round());
    sampled(pixels, |x, y| (x - right, y - down))
}

/// Samples each pixel of the result at the place in the image that `place` gives for its column and row. Levels between
/// pixels are bilinear, and the border is repeated outside of the image.
fn sampled(pixels: &Pixels, place: impl Fn(f64, f64) -> (f64, f64)) -> Result<Pixels, PixelsError> {
    pixels.check()?;
    let (width, height, count) = (pixels.width as usize, pixels.height as usize, pixels.channels.count());
    let mut data = Vec::with_capacity(pixels.data.len());
    for y in 0..height {
        for x in 0..width {
            let (column, row) = place(x as f64, y as f64);
            let (left, right, along) = between(column, width);
            let (above, below, down) = between(row, height);
            let corners = [(above, left), (above, right), (below, left), (below, right)];
            let corners = corners.map(|(row, column)| (row * width + column) * count);
            for channel in 0..count {
                let [a, b, c, d] = corners.map(|at| f64::from(pixels.data[at + channel]));
                let (top, bottom) = (a + (b - a) * along, c + (d - c) * along);
                data.push((top + (bottom - top) * down).round() as u8);
            }
        }
    }
    Ok(Pixels { data, ..*pixels })
}

/// Returns the two pixels of a line that are nearest to a place, and the weight of the second. `length` is at least 1.
fn between(place: f64, length: usize) -> (usize, usize, f64) {
    let place = place.clamp(0.0, (length - 1) as f64);
    let first = place as usize;
    (first, (first + 1).min(length - 1), place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::super::super::Channels;
    use super::*;

    fn image(width: u32, height: u32, level: impl Fn(u32, u32) -> u32) -> Pixels {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data = places.map(|(x, y)| level(x, y) as u8).collect();
        Pixels::new(width, height, Channels::Grey, data).unwrap()
    }

    fn at(pixels: &Pixels, x: u32, y: u32) -> u8 {
        pixels.data[(y * pixels.width + x) as usize]
    }

    /// The levels at the left, right, top and bottom border, in the middle of each.
    fn borders(pixels: &Pixels) -> [i32; 4] {
        let places = [(0, 6), (11, 6), (6, 0), (6, 11)];
        places.map(|(x, y)| i32::from(at(pixels, x, y)))
    }

    fn assert_near(found: [i32; 4], wanted: [i32; 4]) {
        assert!(found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= 2), "{found:?} {wanted:?}");
    }

    #[test]
    fn a_wide_image_loses_its_top_and_bottom() {
        let (columns, rows) = (image(12, 12, |x, _| x * 20), image(12, 12, |_, y| y * 20));
        // The middle 10 of 12 rows are kept, so row 0 of the result shows row 0.92 of the image, and row 6 row 5.92.
        let wide = |pixels: &Pixels| borders(&middle(pixels, 1.0, 1.0 / STRETCH).unwrap());
        assert_near(wide(&rows), [118, 118, 18, 202]);
        assert_near(wide(&columns), [0, 220, 120, 120]);
        let narrow = |pixels: &Pixels| borders(&middle(pixels, 1.0 / STRETCH, 1.0).unwrap());
        assert_near(narrow(&columns), [18, 202, 118, 118]);
        assert_near(narrow(&rows), [120, 120, 0, 220]);
    }

    #[test]
    fn a_tighter_image_loses_all_borders() {
        let framed = image(24, 24, |x, y| if x.min(y) < 2 || x.max(y) > 21 { 0 } else { 200 });
        let tighter = middle(&framed, 1.0 / STRETCH, 1.0 / STRETCH).unwrap();
        assert!(at(&framed, 0, 12) == 0 && at(&tighter, 2, 12) >= 190 && at(&tighter, 12, 21) >= 190, "{tighter:?}");
    }

    #[test]
    fn a_turned_image_is_turned_clockwise_about_its_middle() {
        let mark = |x: u32, y: u32| if (17..=19).contains(&x) && (9..=11).contains(&y) { 255 } else { 0 };
        let turned_mark = turned(&image(21, 21, mark)).unwrap();
        // The mark is right of the middle, so it moves down.
        assert_eq!((at(&turned_mark, 18, 12), at(&turned_mark, 18, 9)), (255, 0));
        let middle_mark = turned(&image(21, 21, |x, y| if (x, y) == (10, 10) { 255 } else { 0 })).unwrap();
        assert_eq!(at(&middle_mark, 10, 10), 255);
    }

    #[test]
    fn the_border_is_repeated() {
        let uniform = image(9, 5, |_, _| 200);
        assert_eq!(turned(&uniform).unwrap(), uniform);
        assert_eq!(shifted(&uniform).unwrap(), uniform);
    }

    #[test]
    fn a_shifted_image_moves_right_and_down_by_whole_pixels() {
        let level = |x: u32, y: u32| x * 7 + y;
        let wanted = image(32, 16, |x, y| level(x.saturating_sub(2), y.saturating_sub(1)));
        assert_eq!(shifted(&image(32, 16, level)).unwrap(), wanted);
    }

    #[test]
    fn the_channels_of_a_colour_image_stay_apart() {
        let rgb = Pixels::new(16, 1, Channels::Rgb, (0..48).collect()).unwrap();
        let wanted: Vec<u8> = [0, 1, 2].into_iter().chain(0..45).collect();
        assert_eq!(shifted(&rgb).unwrap().data, wanted);
    }
}
