//! Adjusts the grey levels of a net input.

use tusk_core::options::Intensity;

use super::Pixels;

/// Levels of an 8-bit sample.
const LEVELS: usize = 256;

/// Number of tiles along each side. Each tile has its own histogram.
const TILES: usize = 8;

/// Maximum count of a level, as a multiple of the mean count in the histogram of a tile.
const CLIP_LIMIT: f64 = 2.0;

/// The fraction of samples that `stretch` makes black, and the fraction that it makes white.
const TAIL: f64 = 0.01;

/// Adjusts the levels of a square image whose side is a multiple of 8 pixels.
pub(super) fn change(pixels: &mut Pixels, intensity: Intensity) {
    match intensity {
        Intensity::None => {}
        Intensity::Stretch => stretch(&mut pixels.data),
        Intensity::Clahe => {
            let channels = pixels.channels.count();
            for channel in 0..channels {
                equalize(&mut pixels.data, pixels.width as usize, (channel, channels));
            }
        }
    }
}

/// Maps the 1st percentile of the samples to 0 and the 99th to 255. Percentiles are those of numpy's `inverted_cdf`
/// method.
fn stretch(samples: &mut [u8]) {
    let mut counts = [0_usize; LEVELS];
    samples.iter().for_each(|sample| counts[usize::from(*sample)] += 1);
    let level = |share: f64| {
        let wanted = share * samples.len() as f64;
        let mut below = 0;
        counts.iter().position(|count| {
            below += count;
            below as f64 >= wanted && below > 0
        })
    };
    let (Some(low), Some(high)) = (level(TAIL), level(1.0 - TAIL)) else { return };
    if low >= high {
        return;
    }
    let (low, range) = (low as i32, (high - low) as i32);
    let stretched = |level: usize| ((2 * 255 * (level as i32 - low) + range) / (2 * range)).clamp(0, 255) as u8;
    let table: [u8; LEVELS] = std::array::from_fn(stretched);
    samples.iter_mut().for_each(|sample| *sample = table[usize::from(*sample)]);
}

/// Contrast-limited adaptive histogram equalisation of one channel, as in OpenCV's `createCLAHE(2.0, (8, 8))`. The
/// clipped histogram of each tile gives a table of levels, and a pixel is interpolated between the tables of the four
/// nearest tiles.
fn equalize(samples: &mut [u8], side: usize, (channel, channels): (usize, usize)) {
    let tile = side / TILES;
    if tile == 0 || tile * TILES != side {
        return;
    }
    let at = |x: usize, y: usize| (y * side + x) * channels + channel;
    let mut tables = [[[0_u8; LEVELS]; TILES]; TILES];
    for (row, tables) in tables.iter_mut().enumerate() {
        for (column, table) in tables.iter_mut().enumerate() {
            let mut counts = [0_usize; LEVELS];
            for y in row * tile..(row + 1) * tile {
                for x in column * tile..(column + 1) * tile {
                    counts[usize::from(samples[at(x, y)])] += 1;
                }
            }
            *table = equalizing(counts, tile * tile);
        }
    }
    // The two nearest tiles of a position, and the weight of the second.
    let between = |place: usize| {
        let tiles = place as f32 / tile as f32 - 0.5;
        let first = tiles.floor();
        let clamped = |tile: f32| tile.clamp(0.0, (TILES - 1) as f32) as usize;
        (clamped(first), clamped(first + 1.0), tiles - first)
    };
    for y in 0..side {
        let (above, below, down) = between(y);
        for x in 0..side {
            let (left, right, along) = between(x);
            let sample = &mut samples[at(x, y)];
            let level = usize::from(*sample);
            let mean = |row: usize| {
                let [left, right] = [left, right].map(|column| f32::from(tables[row][column][level]));
                left * (1.0 - along) + right * along
            };
            *sample = (mean(above) * (1.0 - down) + mean(below) * down).round_ties_even() as u8;
        }
    }
}

/// Computes the table of levels of a tile from its histogram. Counts above the limit are spread over all levels first.
fn equalizing(mut counts: [usize; LEVELS], pixels: usize) -> [u8; LEVELS] {
    let limit = ((CLIP_LIMIT * pixels as f64 / LEVELS as f64) as usize).max(1);
    let clipped: usize = counts.iter().map(|count| count.saturating_sub(limit)).sum();
    counts.iter_mut().for_each(|count| *count = (*count).min(limit) + clipped / LEVELS);
    let left_over = clipped % LEVELS;
    if let Some(step) = LEVELS.checked_div(left_over) {
        counts.iter_mut().step_by(step.max(1)).take(left_over).for_each(|count| *count += 1);
    }
    let mut sum = 0;
    counts.map(|count| {
        sum += count;
        (sum as f32 * (255.0 / pixels as f32)).round_ties_even().min(255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::super::Channels;
    use super::*;

    // From pixels/tests/reference/intensity.py with OpenCV 5.0.0 and numpy 2.4.6: the sum of all levels, and some of
    // them.
    const CLAHE_64: (u64, &[u8], &[u8]) = (
        499_890,
        &[48, 80, 116, 147, 80, 114, 142, 72, 106, 135, 65, 94],
        &[96, 128, 156, 88, 120, 148, 80, 109, 141, 72, 101, 134],
    );
    const STRETCH_64: (u64, &[u8], &[u8]) =
        (301_284, &[0, 8, 25, 40, 8, 25, 40, 8, 25, 40, 8, 23], &[33, 50, 65, 33, 50, 65, 33, 48, 65, 33, 48, 65]);

    /// A dark image with a bright corner, computed in integers.
    fn image(side: usize) -> Vec<u8> {
        let level = |place: usize| {
            let (x, y) = (place % side, place / side);
            60 + (x * 7 + y * 3) % 23 + x * 40 / side + if x + y > side * 3 / 2 { 70 } else { 0 }
        };
        (0..side * side).map(|place| level(place) as u8).collect()
    }

    fn changed(side: usize, intensity: Intensity) -> Vec<u8> {
        let mut pixels = Pixels::new(side as u32, side as u32, Channels::Grey, image(side)).unwrap();
        change(&mut pixels, intensity);
        pixels.data
    }

    #[test]
    fn clahe_equals_that_of_opencv() {
        let found = changed(64, Intensity::Clahe);
        let sum: u64 = found.iter().map(|level| u64::from(*level)).sum();
        assert_eq!((sum, &found[..12], &found[64 * 40 + 20..64 * 40 + 32]), CLAHE_64);
    }

    #[test]
    fn stretch_uses_the_percentiles_of_numpy() {
        let found = changed(64, Intensity::Stretch);
        let sum: u64 = found.iter().map(|level| u64::from(*level)).sum();
        assert_eq!((sum, &found[..12], &found[64 * 40 + 20..64 * 40 + 32]), STRETCH_64);
        let mut flat = vec![9; 64];
        stretch(&mut flat);
        assert_eq!(flat, vec![9; 64]);
    }

    #[test]
    fn an_rgb_image_with_equal_channels_is_changed_like_its_grey_image() {
        for intensity in [Intensity::None, Intensity::Stretch, Intensity::Clahe] {
            let mut rgb = Pixels::new(64, 64, Channels::Grey, image(64)).unwrap().into_channels(Channels::Rgb);
            change(&mut rgb, intensity);
            assert_eq!(rgb.into_channels(Channels::Grey).data, changed(64, intensity), "{intensity}");
        }
    }
}
