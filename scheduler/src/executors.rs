//! The reports of the executors: their devices, their shards, and the progress of their tasks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tusk_core::event::{Progress, ProgressSink};
use tusk_core::protocol::{ExecutorReport, SHARDS_MAX, WIRE_VERSION};

use crate::metrics;

/// Maximum age of a report. Executors report once per second, so an older report is out of date.
const REPORT_AGE_MAX: Duration = Duration::from_secs(10);

/// Maximum number of executors.
const EXECUTORS_MAX: usize = 16_384;

/// The known state of an executor.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its last report.
    pub(crate) report: ExecutorReport,
    /// The time at which it arrived.
    pub(crate) at: Instant,
}

/// Collects the reports of the executors.
#[derive(Debug, Default)]
pub struct Executors {
    known: Mutex<BTreeMap<String, Known>>,
}

impl Executors {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a report, and forwards the progress in it.
    ///
    /// # Errors
    /// A message if the report has another version or too many entries, or if there are too many executors.
    pub(crate) fn report(&self, report: ExecutorReport, progress: &dyn ProgressSink) -> Result<(), String> {
        if report.wire_version != WIRE_VERSION {
            return Err(format!(
                "executor {} uses protocol version {}, this scheduler {WIRE_VERSION}; run the same version of Tusk on \
                 every node",
                report.executor_id, report.wire_version
            ));
        }
        for (what, count) in [
            ("shards", report.shards.len()),
            ("devices", report.devices.len()),
            ("running tasks", report.progress.len()),
        ] {
            if count > SHARDS_MAX {
                return Err(format!(
                    "executor {} reports {count} {what}; the maximum is {SHARDS_MAX}",
                    report.executor_id
                ));
            }
        }
        let news: Vec<Progress> = report.progress.clone();
        {
            let mut known = self.lock();
            known.retain(|_, executor| executor.at.elapsed() < REPORT_AGE_MAX);
            if known.len() >= EXECUTORS_MAX && !known.contains_key(&report.executor_id) {
                return Err(format!("the maximum of {EXECUTORS_MAX} executors is reached"));
            }
            known.insert(report.executor_id.clone(), Known { report, at: Instant::now() });
        }
        news.into_iter().for_each(|news| progress.report(news));
        Ok(())
    }

    /// Updates the metrics of executors and devices. An executor that no longer reports cannot trigger this update.
    pub(crate) fn refresh_gauges(&self) {
        metrics::EXECUTORS.set(i64::try_from(self.alive().len()).unwrap_or(i64::MAX));
        metrics::DEVICES.set(self.devices().into());
    }

    /// Returns the last reports of the executors that have reported recently, by id.
    #[must_use]
    pub fn alive(&self) -> Vec<ExecutorReport> {
        let known = self.lock();
        known.values().filter(|k| k.at.elapsed() < REPORT_AGE_MAX).map(|k| k.report.clone()).collect()
    }

    /// Returns the number of devices of all executors. It is 0 if no executor has reported.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.alive().iter().map(|report| u32::try_from(report.devices.len()).unwrap_or(u32::MAX)).sum()
    }

    /// Returns the number of threads that a worker can use on every executor: the minimum over the executors.
    #[must_use]
    pub fn threads(&self) -> Option<u32> {
        self.alive().iter().map(|report| report.threads_per_device).filter(|threads| *threads > 0).min()
    }

    /// Returns the number of training tasks that an executor takes at a time. It is 1 until the executor has reported.
    pub(crate) fn slots(&self, executor_id: &str) -> u32 {
        let known = self.lock();
        known.get(executor_id).map_or(1, |k| u32::try_from(k.report.devices.len()).unwrap_or(1).max(1))
    }

    /// Returns the executors that hold each shard.
    pub(crate) fn holders(&self) -> HashMap<String, Vec<String>> {
        let mut holders: HashMap<String, Vec<String>> = HashMap::new();
        for report in self.alive() {
            for shard in report.shards {
                holders.entry(shard).or_default().push(report.executor_id.clone());
            }
        }
        holders
    }
}

/// Executors shared by the services of a scheduler.
pub type SharedExecutors = Arc<Executors>;

#[cfg(test)]
mod tests {
    use tusk_core::event::NoProgress;
    use tusk_core::protocol::DeviceReport;

    use super::*;

    fn report(id: &str, devices: usize, threads: u32, shards: &[&str]) -> ExecutorReport {
        ExecutorReport {
            wire_version: WIRE_VERSION,
            executor_id: id.into(),
            devices: vec![DeviceReport::default(); devices],
            threads_per_device: threads,
            shards: shards.iter().map(|s| (*s).to_owned()).collect(),
            ..ExecutorReport::default()
        }
    }

    #[test]
    fn devices_are_summed_and_threads_are_the_minimum() {
        let executors = Executors::default();
        assert_eq!((executors.devices(), executors.threads(), executors.slots("a")), (0, None, 1));
        executors.report(report("a", 4, 8, &["s0"]), &NoProgress).unwrap();
        executors.report(report("b", 1, 2, &["s0", "s1"]), &NoProgress).unwrap();
        assert_eq!((executors.devices(), executors.threads(), executors.slots("a")), (5, Some(2), 4));
        assert_eq!(executors.holders()["s0"], ["a", "b"]);
        assert_eq!(executors.holders()["s1"], ["b"]);
    }

    #[test]
    fn a_report_of_another_version_is_refused() {
        let other = ExecutorReport { wire_version: WIRE_VERSION + 1, ..report("a", 1, 1, &[]) };
        let error = Executors::default().report(other, &NoProgress).unwrap_err();
        assert!(error.contains("run the same version of Tusk on every node"), "{error}");
    }
}
