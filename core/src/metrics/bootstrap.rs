//! Bootstrap intervals.

use std::collections::BTreeMap;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The fraction of resamples between the bounds of an [`Interval`].
pub const CONFIDENCE: f64 = 0.95;

/// A metric with the bounds of its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The metric of the rows, or `None` if it is not defined.
    pub value: Option<f64>,
    /// The 2.5th percentile of the metric over the resamples; `None` if it was not defined for any.
    pub low: Option<f64>,
    /// The 97.5th percentile of the metric over the resamples; `None` if it was not defined for any.
    pub high: Option<f64>,
}

/// The 95 % percentile bootstrap interval of each of `K` metrics (Efron 1979; clusters after Davison and Hinkley 1997).
///
/// `units` are groups of row numbers that stay together, such as the images of one patient: each resample draws as many
/// units as there are, with replacement, and calls `statistic` with the rows of the drawn units, including repeats.
/// With one row per unit, this is the ordinary bootstrap. The value of each interval is the statistic of all rows, in
/// the order of the units. Percentiles are interpolated linearly, as in numpy.
///
/// A resample for which a metric is `None` or NaN is left out of that metric's bounds. With fewer than two units there
/// are no bounds. The draws come only from PCG-XSL-RR-128/64, so the same units and `seed` give the same bounds on
/// every platform.
pub fn bootstrap<const K: usize>(
    units: &[Vec<usize>],
    seed: u64,
    resamples: usize,
    statistic: impl Fn(&[usize]) -> [Option<f64>; K],
) -> [Interval; K] {
    let all: Vec<usize> = units.iter().flatten().copied().collect();
    let value = statistic(&all);
    let mut drawn = all;
    resample(units.len(), seed, resamples, value, |draws| {
        drawn.clear();
        for unit in draws {
            drawn.extend_from_slice(units.get(unit).map_or(&[], Vec::as_slice));
        }
        statistic(&drawn)
    })
}

/// [`bootstrap`] for statistics of row weights, which are the number of times that each of `rows` rows was drawn. Such
/// statistics can sort the rows once for all resamples. Both functions make the same draws from a seed.
pub(super) fn bootstrap_weights<const K: usize>(
    rows: usize,
    units: &Units,
    seed: u64,
    resamples: usize,
    statistic: impl Fn(&[u32]) -> [Option<f64>; K],
) -> [Interval; K] {
    let mut weights = vec![1_u32; rows];
    let value = statistic(&weights);
    resample(units.len(), seed, resamples, value, |draws| {
        weights.fill(0);
        let mut draw = |row: usize| {
            if let Some(weight) = weights.get_mut(row) {
                *weight = weight.saturating_add(1);
            }
        };
        for unit in draws {
            match units {
                Units::Rows(_) => draw(unit),
                Units::Groups(groups) => groups.get(unit).into_iter().flatten().for_each(|&row| draw(row)),
            }
        }
        statistic(&weights)
    })
}

/// The units of a resample.
#[derive(Debug)]
pub(super) enum Units {
    /// This many rows, one per unit.
    Rows(usize),
    /// Groups of rows.
    Groups(Vec<Vec<usize>>),
}

impl Units {
    /// Returns the rows of each group, in the order of the group numbers, so that the order of rows does not change the
    /// draws.
    pub(super) fn groups(groups: &[u64]) -> Self {
        let mut rows_of: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (row, &group) in groups.iter().enumerate() {
            rows_of.entry(group).or_default().push(row);
        }
        Self::Groups(rows_of.into_values().collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => *rows,
            Self::Groups(groups) => groups.len(),
        }
    }
}

/// Draws `units` of `units` numbers with replacement, `resamples` times, and returns the percentiles of `statistic`.
fn resample<const K: usize>(
    units: usize,
    seed: u64,
    resamples: usize,
    value: [Option<f64>; K],
    mut statistic: impl FnMut(&mut dyn Iterator<Item = usize>) -> [Option<f64>; K],
) -> [Interval; K] {
    let mut drawn: [Vec<f64>; K] = std::array::from_fn(|_| Vec::new());
    if units >= 2 {
        let mut generator = Pcg64::seed_from_u64(seed);
        for _ in 0..resamples {
            let mut draws = (0..units).map(|_| below(&mut generator, units));
            for (values, value) in drawn.iter_mut().zip(statistic(&mut draws)) {
                values.extend(value.filter(|value| !value.is_nan()));
            }
        }
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let mut values = value.into_iter().zip(drawn);
    std::array::from_fn(|_| {
        let Some((value, mut drawn)) = values.next() else { return Interval::default() };
        drawn.sort_unstable_by(f64::total_cmp);
        Interval { value, low: percentile(&drawn, tail), high: percentile(&drawn, 1.0 - tail) }
    })
}

/// Returns a number below `bound`: the high half of a 128-bit product (Lemire 2019), without the rejection step. The
/// bias is at most bound / 2^64.
fn below(generator: &mut Pcg64, bound: usize) -> usize {
    ((u128::from(generator.next_u64()) * bound as u128) >> 64) as usize
}

/// The `share` quantile of ascending numbers, interpolated linearly, or `None` if there are none.
fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let place = share * ascending.len().checked_sub(1)? as f64;
    let (lower, fraction) = (place.floor() as usize, place.fract());
    let below = *ascending.get(lower)?;
    let above = *ascending.get(lower + 1).unwrap_or(&below);
    Some(below + (above - below) * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn singles(rows: usize) -> Vec<Vec<usize>> {
        (0..rows).map(|row| vec![row]).collect()
    }

    fn mean(of: &[f64], rows: &[usize]) -> [Option<f64>; 1] {
        [(!rows.is_empty()).then(|| rows.iter().map(|&row| of[row]).sum::<f64>() / rows.len() as f64)]
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy 2.4.6, from tests/reference/sklearn_metrics.py.
        let mut numbers = [0.3, 0.1, 0.9, 0.4, 0.7, 0.2, 0.65];
        numbers.sort_unstable_by(f64::total_cmp);
        assert!((percentile(&numbers, 0.025).unwrap() - 0.115).abs() < 1e-15);
        assert!((percentile(&numbers, 0.975).unwrap() - 0.87).abs() < 1e-15);
        assert_eq!(percentile(&numbers, 1.0), Some(0.9));
        assert_eq!(percentile(&[0.5], 0.975), Some(0.5));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn the_interval_of_a_mean_is_as_wide_as_theory_says() {
        let coin: Vec<f64> = (0..400).map(|row| f64::from(row % 4 == 0)).collect();
        let [interval] = bootstrap(&singles(400), 42, 2000, |rows| mean(&coin, rows));
        assert_eq!(interval.value, Some(0.25));
        // 1.96 standard errors of a proportion of 0.25 in 400 rows, on both sides.
        let half = 1.96 * (0.25_f64 * 0.75 / 400.0).sqrt();
        assert!((interval.low.unwrap() - (0.25 - half)).abs() < 0.008, "{interval:?}, expected {half}");
        assert!((interval.high.unwrap() - (0.25 + half)).abs() < 0.008, "{interval:?}, expected {half}");
    }

    #[test]
    fn drawing_whole_groups_widens_the_interval_by_the_root_of_their_size() {
        // Nine copies of each of 100 rows: nine times the rows, no more information.
        let coin: Vec<f64> = (0..900).map(|row| f64::from(row / 9 % 2 == 0)).collect();
        let groups: Vec<Vec<usize>> = (0..100).map(|group| (group * 9..group * 9 + 9).collect()).collect();
        let width = |interval: Interval| interval.high.unwrap() - interval.low.unwrap();
        let [alone] = bootstrap(&singles(900), 1, 2000, |rows| mean(&coin, rows));
        let [together] = bootstrap(&groups, 1, 2000, |rows| mean(&coin, rows));
        let wider = width(together) / width(alone);
        assert!((2.7..3.3).contains(&wider), "{wider}");
    }

    #[test]
    fn the_draws_of_a_seed_are_pinned() {
        // Intervals in stored reports depend on these numbers.
        let mut generator = Pcg64::seed_from_u64(42);
        let draws: Vec<usize> = (0..8).map(|_| below(&mut generator, 100)).collect();
        assert_eq!(draws, [22, 23, 76, 52, 97, 37, 18, 52]);
    }

    #[test]
    fn the_seed_decides_the_bounds_and_nothing_else_does() {
        let numbers: Vec<f64> = (0..50).map(|row| f64::from(row * row % 17)).collect();
        let run = |seed| bootstrap(&singles(50), seed, 200, |rows| mean(&numbers, rows));
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn weights_and_rows_describe_the_same_draws() {
        let numbers: Vec<f64> = (0..40).map(|row| f64::from(row * row % 17)).collect();
        let groups: Vec<u64> = (0..40).map(|row| 900 - row / 3).collect();
        let units = Units::groups(&groups);
        let Units::Groups(lists) = &units else { panic!("not groups") };
        let by_rows = bootstrap(lists, 3, 300, |rows| [Some(rows.iter().map(|&row| numbers[row]).sum())]);
        let by_weights = bootstrap_weights(40, &units, 3, 300, |weights| {
            [Some(numbers.iter().zip(weights).map(|(number, &weight)| number * f64::from(weight)).sum())]
        });
        assert_eq!(by_rows, by_weights);
        let by_rows = bootstrap(&singles(40), 3, 300, |rows| mean(&numbers, rows));
        let by_weights = bootstrap_weights(40, &Units::Rows(40), 3, 300, |weights| {
            [Some(numbers.iter().zip(weights).map(|(number, &weight)| number * f64::from(weight)).sum::<f64>() / 40.0)]
        });
        assert_eq!(by_rows, by_weights);
    }

    #[test]
    fn the_numbers_of_the_groups_decide_the_draws_not_the_order_of_the_rows() {
        let Units::Groups(groups) = Units::groups(&[30, 10, 30, 20, 10]) else { panic!("not groups") };
        assert_eq!(groups, [vec![1, 4], vec![3], vec![0, 2]]);
    }

    #[test]
    fn undefined_resamples_are_left_out() {
        // Undefined if row 0 was drawn, and NaN if row 1 was drawn.
        let [interval] = bootstrap(&singles(4), 5, 400, |rows| {
            if rows.contains(&0) { [None] } else { [Some(if rows.contains(&1) { f64::NAN } else { 2.5 })] }
        });
        assert_eq!(interval, Interval { value: None, low: Some(2.5), high: Some(2.5) });
    }

    #[test]
    fn with_fewer_than_two_units_there_is_no_bound() {
        let numbers = [1.0, 2.0, 6.0];
        let [one] = bootstrap(&[vec![0, 1, 2]], 5, 100, |rows| mean(&numbers, rows));
        assert_eq!(one, Interval { value: Some(3.0), low: None, high: None });
        let [none] = bootstrap(&[], 5, 100, |rows| mean(&numbers, rows));
        assert_eq!(none, Interval::default());
        let [unsampled] = bootstrap(&singles(3), 5, 0, |rows| mean(&numbers, rows));
        assert_eq!(unsampled, Interval { value: Some(3.0), low: None, high: None });
    }
}
