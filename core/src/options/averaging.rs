//! How often workers are averaged, and how fast they learn then.

use super::ModelSpec;

/// Batches that a worker learns from before it is averaged, at least.
const STEPS_BETWEEN_AVERAGES: u64 = 8;

/// Averages of an epoch that nobody asked for, at most: each moves the whole model to and from every worker.
const AVERAGES_MAX: u32 = 8;

impl ModelSpec {
    /// How often an epoch's workers are averaged, where the busiest of them has so many batches.
    ///
    /// The farther workers go apart before they are averaged, the less the mean is worth; averaged often, they come
    /// close to learning from batches of all their sizes together (local SGD; Stich 2018, arXiv 1805.09767).
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

    /// What the learning rate is multiplied by: the square root of the workers that are averaged, since a mean over n
    /// workers is as good as a batch n times as large (Krizhevsky 2014, arXiv 1404.5997; for Adam, Malladi et al. 2022,
    /// arXiv 2205.10287).
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
    fn averages_are_as_many_as_workers_with_eight_batches_in_between() {
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
