//! Measures the statistics of the images of a site.

use tusk_core::job::{Adapt, Statistics};

use crate::error::Result;
use crate::run::training::Run;

impl Run {
    /// Returns the statistics of all rows at the normalisation layers of the net.
    pub(in crate::run) async fn measure(&self, job: &Adapt) -> Result<Statistics> {
        self.retrying(|| async {
            let mut statistics = Statistics::default();
            let reports = self
                .outputs("measuring the images", &self.train_source, job.clone(), |output| Ok(statistics.fold(output)?))
                .await?;
            statistics.check(reports.iter().map(|report| report.task.rows).sum())?;
            Ok(statistics)
        })
        .await
    }
}
