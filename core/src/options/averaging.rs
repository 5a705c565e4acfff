//! The number of averages per epoch and the learning rate of averaged workers.

use super::ModelSpec;

/// Minimum number of batches between two averages.
const STEPS_BETWEEN_AVERAGES: u64 = 8;

/// Maximum number of averages per epoch of 'auto'. Each average sends all weights to and from every worker.
const AVERAGES_MAX: u32 = 8;

impl ModelSpec {
    /// Returns the number of averages per epoch. `steps` is the number of batches of the worker with the most rows.
    ///
    /// The more the workers diverge before an average, the worse the mean. Frequent averages come close to training
    /// with one batch of the combined size (local SGD; Stich 2018, arXiv 1805.09767).
    #[must_use]
    pub fn averages(&self, workers: u32, steps: u64) -> u32 {
        if !self.distribution.mode.takes_mean() || workers < 2 {
            return 1;
        }
        let (most, wanted) = match self.distribution.averages_per_epoch {
            Some(wanted) => (steps, wanted),
            None => (steps / STEPS_BETWEEN_AVERAGES, workers.min(AVERAGES_MAX)),
        };
        wanted.min(u32::try_from(most).unwrap_or(u32::MAX)).max(1)
    }

    /// Returns the factor of the learning rate: the square root of the number of averaged workers, because a mean over
    /// n workers is similar to a batch n times as large (Krizhevsky 2014, arXiv 1404.5997; for Adam, Malladi et al.
    /// 2022, arXiv 2205.10287).
    #[must_use]
    pub fn learning_rate_factor(&self, workers: u32) -> f64 {
        if self.distribution.mode.takes_mean() && self.distribution.scale_learning_rate {
            f64::from(workers.max(1)).sqrt()
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Architecture;

    #[test]
    fn there_is_one_average_per_worker_with_at_least_eight_batches_in_between() {
        let spec = ModelSpec::new(Architecture::CNN);
        for (workers, steps, averages) in
            [(1, 1000, 1), (2, 75, 2), (4, 38, 4), (8, 19, 2), (8, 7, 1), (8, 0, 1), (1000, 900, 8)]
        {
            assert_eq!(spec.averages(workers, steps), averages, "{workers} workers of {steps} batches");
        }
        let often = spec.clone().with(|spec| spec.distribution.averages_per_epoch = Some(5));
        assert_eq!((often.averages(2, 100), often.averages(2, 3), often.averages(1, 100)), (5, 3, 1));
        assert_eq!(spec.with(|spec| spec.distribution.mode = crate::mode::asynchronous::MODE).averages(4, 38), 1);
    }

    #[test]
    fn the_learning_rate_grows_with_the_square_root_of_the_workers() {
        let spec = ModelSpec::new(Architecture::CNN);
        assert_eq!([1, 4, 9].map(|workers| spec.learning_rate_factor(workers)), [1.0, 2.0, 3.0]);
        assert_eq!(
            spec.clone().with(|spec| spec.distribution.scale_learning_rate = false).learning_rate_factor(4),
            1.0
        );
        assert_eq!(spec.with(|spec| spec.distribution.mode = crate::mode::hogwild::MODE).learning_rate_factor(4), 1.0);
    }
}
