//! Resamples images. The result differs from that of Pillow by at most one grey level.

use std::str::FromStr;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::{Channels, MAX_PIXELS, Pixels, PixelsError};

/// The longest side that can be resampled or encoded, which is the limit of JPEG. It also bounds the size of the table
/// of filter weights.
pub const SIDE_MAX: u32 = 65_535;

/// A resampling filter.
///
/// All filters except [`Filter::Nearest`] are antialiased convolutions, as in Pillow's `Image.resize` and torchvision's
/// `antialias=True`: their support grows with the reduction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Filter {
    /// The pixel under the centre of the new pixel.
    Nearest,
    /// The mean of the pixels covered.
    Box,
    /// Triangle weights.
    #[default]
    Bilinear,
    /// Cubic weights with a = -0.5 (Catmull-Rom), Pillow's `BICUBIC`.
    Bicubic,
    /// Windowed sinc over three lobes, Pillow's `LANCZOS`.
    Lanczos,
}

impl FromStr for Filter {
    type Err = PixelsError;

    fn from_str(name: &str) -> Result<Self, PixelsError> {
        match name.to_ascii_lowercase().as_str() {
            "nearest" => Ok(Filter::Nearest),
            "box" => Ok(Filter::Box),
            "bilinear" => Ok(Filter::Bilinear),
            "bicubic" => Ok(Filter::Bicubic),
            "lanczos" => Ok(Filter::Lanczos),
            _ => Err(PixelsError::UnknownFilter { name: name.to_string() }),
        }
    }
}

impl Filter {
    /// Returns the convolution filter, or `None` for [`Filter::Nearest`].
    fn weights(self) -> Option<FilterType> {
        match self {
            Filter::Nearest => None,
            Filter::Box => Some(FilterType::Box),
            Filter::Bilinear => Some(FilterType::Bilinear),
            Filter::Bicubic => Some(FilterType::CatmullRom),
            Filter::Lanczos => Some(FilterType::Lanczos3),
        }
    }
}

/// Resamples an image to `width` x `height` with [`Filter::Bilinear`]. The aspect ratio is not preserved.
///
/// # Errors
/// As [`resize_with`].
pub fn resize(pixels: &Pixels, width: u32, height: u32) -> Result<Pixels, PixelsError> {
    resize_with(pixels, width, height, Filter::Bilinear)
}

/// Resamples an image to `width` x `height`. The aspect ratio is not preserved.
///
/// # Errors
/// Returns an error if a side is zero or above [`SIDE_MAX`], if an area is above [`MAX_PIXELS`], or if the number of
/// samples does not match the sides.
pub fn resize_with(pixels: &Pixels, width: u32, height: u32, filter: Filter) -> Result<Pixels, PixelsError> {
    check_sides(pixels, width, height)?;
    if (pixels.width, pixels.height) == (width, height) {
        return Ok(pixels.clone());
    }
    let Some(weights) = filter.weights() else {
        return Ok(nearest(pixels, width, height));
    };
    let (rows_first, columns_first) = ((pixels.width, height), (width, pixels.height));
    let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    // Reducing the rows first is faster. Filters with negative lobes overshoot and are clamped between the passes, so
    // the order changes the result. For them, start with the columns as Pillow does. The intermediate image may be too
    // large if the image is wide and the target tall. The other order is then below the limit, because the product of
    // both intermediate areas equals the product of the areas of the image and the target.
    let preferred = if matches!(filter, Filter::Bicubic | Filter::Lanczos) { columns_first } else { rows_first };
    let middle = match preferred {
        middle if area(middle) <= MAX_PIXELS => middle,
        middle if middle == rows_first => columns_first,
        _ => rows_first,
    };
    convolved(&convolved(pixels, middle, weights)?, (width, height), weights)
}

fn check_sides(pixels: &Pixels, width: u32, height: u32) -> Result<(), PixelsError> {
    pixels.check()?;
    if width == 0 || height == 0 {
        return Err(PixelsError::ZeroSide { width, height });
    }
    for (width, height) in [(pixels.width, pixels.height), (width, height)] {
        if width.max(height) > SIDE_MAX || u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(PixelsError::TooLarge { width, height });
        }
    }
    Ok(())
}

/// A rectangle of an image, in fractional pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Part {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) columns: f64,
    pub(super) rows: f64,
}

impl Part {
    /// Returns the whole image.
    pub(super) fn of(pixels: &Pixels) -> Self {
        Self { left: 0.0, top: 0.0, columns: f64::from(pixels.width), rows: f64::from(pixels.height) }
    }

    /// Returns the part left after a fraction `crop` of each side is cut off at each border.
    pub(super) fn without_border(self, crop: f64) -> Self {
        Self {
            left: self.left + self.columns * crop,
            top: self.top + self.rows * crop,
            columns: self.columns * (1.0 - 2.0 * crop),
            rows: self.rows * (1.0 - 2.0 * crop),
        }
    }

    /// Returns the largest square in the middle.
    pub(super) fn middle_square(self) -> Self {
        let side = self.columns.min(self.rows);
        let (left, top) = ((self.columns - side) / 2.0, (self.rows - side) / 2.0);
        Self { left: self.left + left, top: self.top + top, columns: side, rows: side }
    }

    /// Returns the width and the height at which the longer side is `side` and the ratio is kept.
    pub(super) fn fitted(self, side: u32) -> (u32, u32) {
        let longer = self.columns.max(self.rows);
        let [width, height] =
            [self.columns, self.rows].map(|length| (f64::from(side) * length / longer).round().max(1.0) as u32);
        (width, height)
    }
}

/// Resamples a part of an image with [`Filter::Bilinear`].
pub(super) fn resize_part(pixels: &Pixels, part: Part, width: u32, height: u32) -> Result<Pixels, PixelsError> {
    if part == Part::of(pixels) {
        return resize(pixels, width, height);
    }
    convolved_part(pixels, part, (width, height), FilterType::Bilinear)
}

/// Resamples a part of an image with [`Filter::Bicubic`].
pub(super) fn resize_part_bicubic(pixels: &Pixels, part: Part, width: u32, height: u32) -> Result<Pixels, PixelsError> {
    if part == Part::of(pixels) {
        return resize_with(pixels, width, height, Filter::Bicubic);
    }
    convolved_part(pixels, part, (width, height), FilterType::CatmullRom)
}

fn convolved_part(
    pixels: &Pixels,
    part: Part,
    (width, height): (u32, u32),
    weights: FilterType,
) -> Result<Pixels, PixelsError> {
    check_sides(pixels, width, height)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(weights));
    resampled(pixels, (width, height), &options.crop(part.left, part.top, part.columns, part.rows))
}

/// Convolves an image with a filter along the sides whose length changes.
fn convolved(pixels: &Pixels, sides: (u32, u32), weights: FilterType) -> Result<Pixels, PixelsError> {
    resampled(pixels, sides, &ResizeOptions::new().resize_alg(ResizeAlg::Convolution(weights)))
}

fn resampled(pixels: &Pixels, (width, height): (u32, u32), options: &ResizeOptions) -> Result<Pixels, PixelsError> {
    let kind = match pixels.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
    };
    let refused = |reason: String| PixelsError::Backend { task: "resized", reason };
    let source =
        ImageRef::new(pixels.width, pixels.height, &pixels.data, kind).map_err(|error| refused(error.to_string()))?;
    let mut target = Image::new(width, height, kind);
    Resizer::new().resize(&source, &mut target, options).map_err(|error| refused(error.to_string()))?;
    Pixels::new(width, height, pixels.channels, target.into_vec())
}

/// Resamples with [`Filter::Nearest`].
///
/// `fast_image_resize` also has this filter, but it may choose another pixel than Pillow if a centre falls on the
/// border of two pixels. Pillow adds up the step, with its rounding errors, and so does this function.
fn nearest(pixels: &Pixels, width: u32, height: u32) -> Pixels {
    let positions = |old: u32, new: u32| -> Vec<usize> {
        let step = f64::from(old) / f64::from(new);
        let centres = std::iter::successors(Some(step * 0.5), |centre| Some(centre + step));
        centres.take(new as usize).map(|centre| (centre as usize).min(old as usize - 1)).collect()
    };
    let count = pixels.channels.count();
    let columns = positions(pixels.width, width);
    let mut data = Vec::with_capacity(width as usize * height as usize * count);
    let rows: Vec<&[u8]> = pixels.data.chunks_exact(pixels.width as usize * count).collect();
    for y in positions(pixels.height, height) {
        columns.iter().for_each(|x| data.extend_from_slice(&rows[y][x * count..(x + 1) * count]));
    }
    Pixels { width, height, channels: pixels.channels, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image of tests/reference/pillow_resize.py.
    fn drawn(channels: Channels) -> Pixels {
        let drawn_level = |x: usize, y: usize, channel: usize| {
            let checker = if (x / 3 + y / 2 + channel).is_multiple_of(2) { 90 } else { 0 };
            ((x * 5 + y * 3 + channel * 40 + checker) % 256) as u8
        };
        let mut data = Vec::new();
        for y in 0..24 {
            for x in 0..32 {
                data.extend((0..channels.count()).map(|channel| drawn_level(x, y, channel)));
            }
        }
        Pixels::new(32, 24, channels, data).unwrap()
    }

    #[test]
    fn every_filter_is_within_a_grey_level_of_pillow() {
        let mut cases = 0;
        for line in include_str!("../tests/reference/pillow_resize.txt").lines().filter(|l| !l.starts_with('#')) {
            let fields: Vec<&str> = line.split(' ').collect();
            let channels = if fields[0] == "1" { Channels::Grey } else { Channels::Rgb };
            let (width, height) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
            let pillow: Vec<u8> = fields[4..].iter().map(|level| level.parse().unwrap()).collect();
            let ours = resize_with(&drawn(channels), width, height, fields[1].parse().unwrap()).unwrap();
            assert_eq!(ours.data.len(), pillow.len());
            let worst = ours.data.iter().zip(&pillow).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 1, "{} to {width} x {height}: differs by {worst}", fields[1]);
            cases += 1;
        }
        assert_eq!(cases, 25);
    }

    #[test]
    fn resizing_to_the_same_size_changes_nothing() {
        let source = drawn(Channels::Rgb);
        assert_eq!(resize(&source, 32, 24).unwrap(), source);
    }

    #[test]
    fn a_single_pixel_is_enlarged_to_a_uniform_image() {
        let dot = Pixels::new(1, 1, Channels::Rgb, vec![1, 2, 3]).unwrap();
        assert_eq!(resize(&dot, 4, 2).unwrap().data, [1, 2, 3].repeat(8));
    }

    #[test]
    fn resizing_a_wide_line_to_a_tall_line_allocates_no_large_intermediate_image() {
        for filter in [Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for (old, new) in [((SIDE_MAX, 1), (1, SIDE_MAX)), ((1, SIDE_MAX), (SIDE_MAX, 1))] {
                let line = Pixels::new(old.0, old.1, Channels::Grey, vec![80; SIDE_MAX as usize]).unwrap();
                let turned = resize_with(&line, new.0, new.1, filter).unwrap();
                assert!(turned.data.iter().all(|&level| level == 80), "{filter:?}");
            }
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let source = drawn(Channels::Grey);
        assert_eq!(resize(&source, 0, 5), Err(PixelsError::ZeroSide { width: 0, height: 5 }));
        assert!(matches!(resize(&source, 65_536, 1), Err(PixelsError::TooLarge { .. })));
        assert!(matches!(resize(&source, 60_000, 60_000), Err(PixelsError::TooLarge { .. })));
        let short = Pixels { data: vec![0], ..source };
        assert!(matches!(resize(&short, 5, 5), Err(PixelsError::WrongLength { .. })));
        assert!(matches!("cubic".parse::<Filter>(), Err(PixelsError::UnknownFilter { .. })));
    }
}
