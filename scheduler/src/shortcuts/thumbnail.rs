//! What is measured of a small grey copy of an image.

/// Side of the copy, in pixels. The probes need a half, a tenth, and whole octaves.
pub(crate) const SIDE: usize = 80;

/// Number of octaves of detail: a side of 80, 40, 20 and 10 pixels.
const OCTAVES: usize = 4;

/// A grey square of [`SIDE`] pixels, with levels from 0 to 255.
#[derive(Clone, Debug)]
pub(crate) struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// Takes the samples of a grey square, row by row. Returns `None` if their number is another.
    pub(crate) fn new(samples: &[u8]) -> Option<Self> {
        (samples.len() == SIDE * SIDE).then(|| Self(samples.to_vec()))
    }

    /// Returns the samples, row by row.
    pub(super) fn samples(&self) -> &[u8] {
        &self.0
    }

    /// Returns the mean and the standard deviation of the levels.
    pub(super) fn moments(&self) -> (f64, f64) {
        moments(&self.levels())
    }

    fn levels(&self) -> Vec<f32> {
        self.0.iter().map(|level| f32::from(*level)).collect()
    }

    /// Returns the mean level of the pixels for which `is_part` holds, given their column and row.
    pub(super) fn mean_where(&self, is_part: impl Fn(usize, usize) -> bool) -> f64 {
        let chosen =
            self.0.iter().enumerate().filter(|(i, _)| is_part(i % SIDE, i / SIDE)).map(|(_, level)| f32::from(*level));
        moments(&chosen.collect::<Vec<f32>>()).0
    }

    /// Returns means of squares, in `side` columns and rows. `side` divides [`SIDE`].
    pub(super) fn reduced(&self, side: usize) -> Vec<f32> {
        let step = SIDE / side;
        let mut sums = vec![0.0; side * side];
        for (i, level) in self.0.iter().enumerate() {
            sums[i / SIDE / step * side + i % SIDE / step] += f32::from(*level);
        }
        sums.iter().map(|sum| sum / (step * step) as f32).collect()
    }

    /// Returns the logarithms of the mean squares of the details of each octave, the finest first, as a Haar wavelet
    /// separates them: across, down and diagonal.
    pub(super) fn spectrum(&self) -> Vec<f32> {
        let (mut level, mut side) = (self.levels(), SIDE);
        let mut spectrum = Vec::with_capacity(3 * OCTAVES);
        for _ in 0..OCTAVES {
            let half = side / 2;
            let (mut next, mut energy) = (Vec::with_capacity(half * half), [0.0_f32; 3]);
            for i in 0..half * half {
                let at = i / half * 2 * side + i % half * 2;
                let [a, b, c, d] = [level[at], level[at + 1], level[at + side], level[at + side + 1]];
                let details = [a - b + c - d, a + b - c - d, a - b - c + d];
                energy.iter_mut().zip(details).for_each(|(sum, detail)| *sum += detail * detail);
                next.push((a + b + c + d) / 4.0);
            }
            spectrum.extend(energy.map(|sum| (sum / (half * half) as f32 + 1.0).ln()));
            (level, side) = (next, half);
        }
        spectrum
    }
}

/// Returns the mean and the standard deviation. Both are 0 without values.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbnail(level: impl Fn(usize, usize) -> u8) -> Thumbnail {
        Thumbnail::new(&(0..SIDE * SIDE).map(|i| level(i % SIDE, i / SIDE)).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn other_sizes_are_refused() {
        assert!(Thumbnail::new(&[0; SIDE * SIDE - 1]).is_none());
    }

    #[test]
    fn parts_and_reductions_are_means() {
        let halves = thumbnail(|x, _| if x < SIDE / 2 { 40 } else { 80 });
        assert_eq!(halves.moments(), (60.0, 20.0));
        assert!((halves.mean_where(|x, _| x == 0) - 40.0).abs() < 1e-9);
        assert_eq!(halves.reduced(2), [40.0, 80.0, 40.0, 80.0]);
    }

    #[test]
    fn stripes_are_details_of_one_octave_and_direction() {
        for octave in 0..OCTAVES {
            let is_light = |place: usize| (place >> octave).is_multiple_of(2);
            for (direction, stripes) in [
                (0, thumbnail(|x, _| if is_light(x) { 150 } else { 100 })),
                (1, thumbnail(|_, y| if is_light(y) { 150 } else { 100 })),
                (2, thumbnail(|x, y| if is_light(x) == is_light(y) { 150 } else { 100 })),
            ] {
                let spectrum = stripes.spectrum();
                let loudest = (0..spectrum.len()).max_by(|a, b| spectrum[*a].total_cmp(&spectrum[*b])).unwrap();
                assert_eq!(loudest, 3 * octave + direction, "{spectrum:?}");
                assert_eq!(spectrum.iter().filter(|energy| **energy > 0.0).count(), 1, "{spectrum:?}");
            }
        }
    }
}
