//! Basic shapes in the plane. They use no transcendental functions: see `rng.rs`.

use super::rng::Rng;

/// 0 outside, 1 inside, with a smooth ramp of half-width `soft` where the signed distance `inside` crosses 0.
pub(super) fn edge(inside: f32, soft: f32) -> f32 {
    let t = (0.5 + 0.5 * inside / soft).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 and half-width `width` around 0.
pub(super) fn bell(distance: f32, width: f32) -> f32 {
    let ratio = distance / width;
    let falling = 1.0 / (1.0 + ratio * ratio);
    falling * falling
}

/// 1 in the centre of an ellipse, 0 on its edge, negative outside.
pub(super) fn ellipse(x: f32, y: f32, centre: (f32, f32), radii: (f32, f32)) -> f32 {
    let (u, v) = ((x - centre.0) / radii.0, (y - centre.1) / radii.1);
    1.0 - (u * u + v * v).sqrt()
}

/// The distance of `phase` from the nearest whole number, 0 to 0.5.
pub(super) fn off_beat(phase: f32) -> f32 {
    (phase - phase.round()).abs()
}

/// Smooth random values over the square -2..2: three octaves of interpolated lattices, about 0 to 1 with mean 0.5.
pub(super) struct Noise {
    octaves: [Lattice; 3],
}

struct Lattice {
    cells: usize,
    values: Vec<f32>,
}

impl Noise {
    /// Noise whose coarsest octave has `cells` lattice cells across the square.
    pub(super) fn new(cells: usize, dice: &mut Rng) -> Self {
        Self { octaves: [cells, cells * 2, cells * 4].map(|cells| Lattice::new(cells, dice)) }
    }

    /// The value at a point. Points outside the square have the value of its border.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let [coarse, middle, fine] = &self.octaves;
        (4.0 * coarse.at(x, y) + 2.0 * middle.at(x, y) + fine.at(x, y)) / 7.0
    }
}

impl Lattice {
    fn new(cells: usize, dice: &mut Rng) -> Self {
        let side = cells + 2;
        Self { cells, values: (0..side * side).map(|_| dice.unit()).collect() }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (column, u) = self.cell(x);
        let (row, v) = self.cell(y);
        let start = row * (self.cells + 2) + column;
        let below = start + self.cells + 2;
        let Some(([a, b], [c, d])) = self.pair(start).zip(self.pair(below)) else { return 0.5 };
        let (top, bottom) = (a + (b - a) * u, c + (d - c) * u);
        top + (bottom - top) * v
    }

    fn pair(&self, start: usize) -> Option<[f32; 2]> {
        self.values.get(start..start + 2).and_then(|pair| pair.try_into().ok())
    }

    /// The cell of a coordinate, and the eased position in it.
    fn cell(&self, coordinate: f32) -> (usize, f32) {
        let place = ((coordinate + 2.0) * 0.25).clamp(0.0, 1.0) * self.cells as f32;
        let cell = place as usize;
        let t = place - cell as f32;
        (cell, t * t * (3.0 - 2.0 * t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_rises_from_zero_to_one_over_its_softness() {
        assert_eq!((edge(-0.2, 0.1), edge(0.0, 0.1), edge(0.2, 0.1)), (0.0, 0.5, 1.0));
    }

    #[test]
    fn noise_is_continuous_and_stays_between_zero_and_one() {
        let noise = Noise::new(6, &mut Rng::new([1, 1, 1, 1]));
        let (mut low, mut high) = (1.0_f32, 0.0_f32);
        for step in -2_500..2_500 {
            let x = step as f32 / 1_000.0;
            let (here, next) = (noise.at(x, 0.37), noise.at(x + 0.001, 0.37));
            assert!((here - next).abs() < 0.05, "a jump at {x}: {here} to {next}");
            (low, high) = (low.min(here), high.max(here));
        }
        assert!(low >= 0.0 && high <= 1.0 && high - low > 0.2, "{low} to {high}");
    }
}
