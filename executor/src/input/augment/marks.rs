//! Rectangles are wiped out or written on.

use tch::{Kind, Tensor};
use tusk_core::augment::marks::{Fill, Mark};

use super::Draw;
use crate::error::Result;

/// Fills the marks of each image.
pub(super) fn marked(x: Tensor, draws: &[Draw]) -> Result<Tensor> {
    for (place, draw) in (0..).zip(draws) {
        if draw.marks.is_empty() {
            continue;
        }
        let image = x.f_select(0, place)?;
        // One image at a time, because the rounding of libtorch's sums depends on the other images of the batch.
        let mean = image.f_mean(Kind::Float)?;
        for mark in &draw.marks {
            fill(&image, &mean, mark)?;
        }
    }
    Ok(x)
}

/// Fills a mark of an image `[channels, side, side]` in place.
fn fill(image: &Tensor, mean: &Tensor, mark: &Mark) -> Result<()> {
    let Mark { left, top, width, height, .. } = *mark;
    let part = |left: usize, top: usize, width: usize, height: usize| -> Result<Tensor> {
        Ok(image.f_narrow(1, top as i64, height as i64)?.f_narrow(2, left as i64, width as i64)?)
    };
    let mut whole = part(left, top, width, height)?;
    match mark.fill {
        Fill::Black => drop(whole.f_fill_(0.0)?),
        Fill::White => drop(whole.f_fill_(1.0)?),
        Fill::Mean => drop(whole.f_fill_tensor_(mean)?),
        Fill::Letter => {
            drop(whole.f_fill_(1.0)?);
            let stroke = stroke(mark);
            if width.min(height) > 2 * stroke {
                let mut inner = part(left + stroke, top + stroke, width - 2 * stroke, height - 2 * stroke)?;
                drop(inner.f_fill_(0.0)?);
            }
        }
    }
    Ok(())
}

/// Returns the width of the stroke of a letter, in pixels.
fn stroke(mark: &Mark) -> usize {
    (mark.width.min(mark.height) / 4).max(1)
}

#[cfg(test)]
mod tests {
    use tusk_core::augment::marks::TRANSFORM;

    use super::super::testing::changed;
    use super::*;

    const SIDE: usize = 100;

    /// What a mark shows at a place, with the mean level of the image. `None` outside of the mark.
    fn shown(mark: &Mark, mean: f64, column: usize, row: usize) -> Option<f64> {
        let within = |margin: usize| {
            (mark.left + margin..(mark.left + mark.width).saturating_sub(margin)).contains(&column)
                && (mark.top + margin..(mark.top + mark.height).saturating_sub(margin)).contains(&row)
        };
        within(0).then(|| match mark.fill {
            Fill::Black => 0.0,
            Fill::White => 1.0,
            Fill::Mean => mean,
            Fill::Letter => f64::from(u8::from(!within(stroke(mark)))),
        })
    }

    #[test]
    fn marks_are_near_the_borders_and_no_other_pixel_changes() {
        let level = |i: usize| (30 + i % SIDE + (i / SIDE) % 7) as u8;
        let image: Vec<u8> = (0..SIDE * SIDE).map(level).collect();
        let mean = image.iter().map(|level| f64::from(*level)).sum::<f64>() / (SIDE * SIDE) as f64 / 255.0;
        let mut fills = Vec::new();
        for (changed, draw) in changed(TRANSFORM, &image, SIDE) {
            fills.extend(draw.marks.iter().map(|mark| mark.fill));
            for (i, level) in changed.iter().enumerate() {
                let (column, row) = (i % SIDE, i / SIDE);
                let mark = draw.marks.iter().rev().find_map(|mark| shown(mark, mean, column, row));
                let is_inner = [column, row].iter().all(|place| (SIDE / 5..SIDE - SIDE / 5).contains(place));
                assert!(mark.is_none() || !is_inner, "a mark at {column}, {row}: {:?}", draw.marks);
                let wanted = mark.unwrap_or(f64::from(image[i]) / 255.0);
                assert!((f64::from(*level) - wanted).abs() < 1e-5, "{level}, not {wanted}, with {:?}", draw.marks);
            }
        }
        assert!(Fill::ALL.iter().all(|fill| fills.contains(fill)), "{fills:?}");
    }
}
