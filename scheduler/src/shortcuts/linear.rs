//! Ridge regression, solved by conjugate gradients (Hestenes and Stiefel 1952).

/// Steps of the solver. With standardised columns and the penalty below, more do not change the ROC AUC of a probe.
const STEPS: usize = 60;

/// The penalty on the squares of the coefficients, per row.
const PENALTY: f64 = 0.03;

/// A matrix of standardised columns, row by row.
pub(super) struct Matrix {
    values: Vec<f32>,
    columns: usize,
}

impl Matrix {
    /// Standardises the columns of rows of equal length.
    pub(super) fn standardised(rows: &[Vec<f32>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let count = rows.len().max(1) as f64;
        let mut values: Vec<f32> = rows.iter().flatten().copied().collect();
        for column in 0..columns {
            let of =
                |values: &[f32]| values.iter().skip(column).step_by(columns).map(|v| f64::from(*v)).collect::<Vec<_>>();
            let mean = of(&values).iter().sum::<f64>() / count;
            let deviation = (of(&values).iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            let scale = if deviation > 1e-9 { 1.0 / deviation } else { 0.0 };
            for value in values.iter_mut().skip(column).step_by(columns) {
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
        Self { values, columns }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Returns the score of a row.
    pub(super) fn score(&self, row: usize, coefficients: &[f64]) -> f64 {
        self.row(row).iter().zip(coefficients).map(|(value, coefficient)| f64::from(*value) * coefficient).sum()
    }

    /// Returns the coefficients that fit `target`, one per row of the matrix, on `rows`.
    pub(super) fn fit(&self, rows: &[usize], target: &[f64]) -> Vec<f64> {
        let transposed = |weights: &mut dyn Iterator<Item = (usize, f64)>| {
            let mut sums = vec![0.0; self.columns];
            for (row, weight) in weights {
                sums.iter_mut().zip(self.row(row)).for_each(|(sum, value)| *sum += f64::from(*value) * weight);
            }
            sums
        };
        let penalty = PENALTY * rows.len() as f64;
        let mut coefficients = vec![0.0; self.columns];
        let mut residual = transposed(&mut rows.iter().map(|row| (*row, target[*row])));
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        for _ in 0..STEPS {
            let mut image = transposed(&mut rows.iter().map(|row| (*row, self.score(*row, &direction))));
            image.iter_mut().zip(&direction).for_each(|(value, step)| *value += penalty * step);
            let curvature = dot(&direction, &image);
            if curvature <= 0.0 || square < 1e-18 {
                break;
            }
            let length = square / curvature;
            coefficients.iter_mut().zip(&direction).for_each(|(value, step)| *value += length * step);
            residual.iter_mut().zip(&image).for_each(|(value, step)| *value -= length * step);
            let next = dot(&residual, &residual);
            let ratio = next / square;
            direction.iter_mut().zip(&residual).for_each(|(step, value)| *step = value + ratio * *step);
            square = next;
        }
        coefficients
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coefficients_solve_the_penalised_equations() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let rows: Vec<Vec<f32>> = (0..200).map(|_| (0..7).map(|_| next()).collect()).collect();
        let target: Vec<f64> = rows.iter().map(|row| f64::from(3.0 * row[0] - row[1] + 0.2 * next())).collect();
        let matrix = Matrix::standardised(&rows);
        let all: Vec<usize> = (0..200).collect();
        let coefficients = matrix.fit(&all, &target);
        // The gradient of the penalised squared error is 0.
        for column in 0..7 {
            let error = |row: &usize| target[*row] - matrix.score(*row, &coefficients);
            let sum: f64 = all.iter().map(|row| f64::from(matrix.row(*row)[column]) * error(row)).sum();
            assert!((sum - 0.03 * 200.0 * coefficients[column]).abs() < 1e-6, "{column}: {sum}");
        }
        assert!(coefficients[0] > 0.5 && coefficients[1] < -0.1, "{coefficients:?}");
    }

    #[test]
    fn a_constant_column_counts_for_nothing() {
        let rows: Vec<Vec<f32>> = (0..50).map(|row| vec![7.0, row as f32]).collect();
        let target: Vec<f64> = (0..50).map(f64::from).collect();
        let coefficients = Matrix::standardised(&rows).fit(&(0..50).collect::<Vec<_>>(), &target);
        assert_eq!(coefficients[0], 0.0);
        assert!(coefficients[1] > 1.0);
    }
}
