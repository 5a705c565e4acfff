//! Tracks the running tasks of an executor: their progress, log entries and metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tusk_core::event::{Progress, ProgressSink, SharedProgress};
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::job::{Job, TrainTask};

use crate::error::{Error, Result};
use crate::runtime::metrics::Metrics;

/// The running tasks of an engine. It receives their progress, updates the metrics and forwards the progress.
#[derive(Debug)]
pub(crate) struct Tasks {
    pub(crate) metrics: Metrics,
    next: SharedProgress,
    changed: Arc<Notify>,
    running: Mutex<HashMap<(RunId, WorkerId), Running>>,
}

#[derive(Debug, Default)]
struct Running {
    /// The number of attempts. A task may be retried before its first attempt has noticed that it was cancelled.
    attempts: usize,
    /// Whether the net is trained. Otherwise it is only applied to the images.
    trains: bool,
    progress: Option<Progress>,
}

impl Tasks {
    pub(crate) fn new(metrics: Metrics, next: SharedProgress, changed: Arc<Notify>) -> Self {
        Self { metrics, next, changed, running: Mutex::default() }
    }

    /// Records the start of a task. The task ends when the returned value is ended or dropped.
    pub(crate) fn begin(self: &Arc<Self>, task: &TrainTask, worker: WorkerId) -> RunningTask {
        let key = (task.run.clone(), worker);
        {
            let mut running = self.lock();
            let entry = running.entry(key.clone()).or_default();
            (entry.attempts, entry.trains) = (entry.attempts + 1, !matches!(task.job, Job::Adapt(_)));
        }
        self.changed.notify_one();
        let (job, epoch) = (task.job.name(), task.job.epoch());
        tracing::info!(run = %task.run, epoch, partition = %worker, phase = job, "task starts");
        RunningTask { tasks: Arc::clone(self), key, job, epoch, started: Instant::now(), outcome: "cancelled" }
    }

    /// Returns the latest progress of every running task.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        let mut all: Vec<Progress> = self.lock().values().filter_map(|running| running.progress.clone()).collect();
        all.sort_by(|a, b| (&a.run, a.worker).cmp(&(&b.run, b.worker)));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RunId, WorkerId), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Tasks {
    fn report(&self, progress: Progress) {
        if let Some(running) = self.lock().get_mut(&(progress.run.clone(), progress.worker)) {
            let last = running.progress.as_ref().filter(|last| last.epoch == progress.epoch);
            let last = last.map_or(progress.images_before, |last| last.images);
            // A number below the last one comes from a new attempt.
            let new = progress
                .images
                .checked_sub(last)
                .unwrap_or(progress.images - progress.images_before.min(progress.images));
            let counter = match progress.epoch {
                0 => &self.metrics.images_decoded,
                _ if running.trains => &self.metrics.images_trained,
                _ => &self.metrics.images_scored,
            };
            counter.inc_by(new);
            running.progress = Some(progress.clone());
        }
        self.next.report(progress);
    }
}

/// A running task. If it is dropped without a call of [`Self::end`], it was cancelled.
#[derive(Debug)]
pub(crate) struct RunningTask {
    tasks: Arc<Tasks>,
    key: (RunId, WorkerId),
    /// The name of the job. Logs and metrics call it the phase, because Prometheus uses the label `job` itself.
    job: &'static str,
    epoch: Option<u32>,
    started: Instant,
    outcome: &'static str,
}

impl RunningTask {
    /// Records the result of the task.
    pub(crate) fn end(mut self, result: &Result<()>) {
        let ((run, partition), phase, epoch) = (&self.key, self.job, self.epoch);
        self.outcome = match result {
            Ok(()) => "done",
            Err(Error::Cancelled) => "cancelled",
            Err(error) => {
                tracing::warn!(%run, epoch, %partition, phase, %error, "task failed");
                "failed"
            }
        };
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let images = {
            let mut running = self.tasks.lock();
            let images = running.get(&self.key).and_then(|running| running.progress.as_ref()).map_or(0, |p| p.images);
            if let Some(entry) = running.get_mut(&self.key) {
                entry.attempts -= 1;
                if entry.attempts == 0 {
                    running.remove(&self.key);
                }
            }
            images
        };
        self.tasks.metrics.tasks.with_label_values(&[self.job, self.outcome]).inc();
        self.tasks.changed.notify_one();
        let ((run, partition), phase, epoch, outcome) = (&self.key, self.job, self.epoch, self.outcome);
        let seconds = self.started.elapsed().as_secs_f64();
        tracing::info!(%run, epoch, %partition, phase, outcome, seconds, images, "task ends");
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::event::NoProgress;
    use tusk_core::job::Adapt;
    use tusk_core::manifest::FileRef;
    use tusk_core::options::Architecture;

    use super::*;
    use crate::testing::{definition, task};

    fn tasks() -> Arc<Tasks> {
        Arc::new(Tasks::new(Metrics::new().unwrap(), Arc::new(NoProgress), Arc::default()))
    }

    fn progress(epoch: u32, images: u64) -> Progress {
        let run = RunId::from("run-test".to_owned());
        Progress {
            run,
            worker: WorkerId(0),
            epoch,
            images,
            images_before: 0,
            images_total: None,
            images_per_second: 1.0,
            loss: None,
        }
    }

    #[test]
    fn images_that_are_reported_repeatedly_count_once() {
        let tasks = tasks();
        let running = tasks.begin(&task(&definition(Architecture::CNN), 1), WorkerId(0));
        for (epoch, images) in [(0, 10), (0, 25), (1, 8), (1, 16), (1, 16), (2, 4)] {
            tasks.report(progress(epoch, images));
        }
        let totals = tasks.metrics.totals();
        assert_eq!((totals.images_decoded, totals.images_trained), (25, 20));
        assert_eq!(tasks.progress(), [progress(2, 4)]);
        running.end(&Ok(()));
        assert!(tasks.progress().is_empty());
        assert_eq!(tasks.metrics.tasks.with_label_values(&["train", "done"]).get(), 1);
    }

    #[test]
    fn images_to_adapt_to_are_not_counted_as_trained() {
        let tasks = tasks();
        let weights = FileRef { path: String::new(), checksum: String::new() };
        let job = Adapt { weights, net: 1, batch_size: 8 };
        let task = TrainTask { job: job.into(), ..task(&definition(Architecture::CNN), 1) };
        let running = tasks.begin(&task, WorkerId(0));
        for (epoch, images) in [(0, 24), (1, 8), (1, 24)] {
            tasks.report(progress(epoch, images));
        }
        let totals = tasks.metrics.totals();
        assert_eq!((totals.images_decoded, totals.images_trained, totals.images_scored), (24, 0, 24));
        running.end(&Ok(()));
        assert_eq!(tasks.metrics.tasks.with_label_values(&["adapt", "done"]).get(), 1);
    }

    #[test]
    fn a_dropped_task_counts_as_cancelled_and_its_second_attempt_continues() {
        let tasks = tasks();
        let task = task(&definition(Architecture::CNN), 1);
        let (first, second) = (tasks.begin(&task, WorkerId(0)), tasks.begin(&task, WorkerId(0)));
        tasks.report(progress(1, 30));
        drop(first);
        tasks.report(progress(1, 10));
        assert_eq!(tasks.metrics.images_trained.get(), 40);
        assert_eq!(tasks.progress().len(), 1);
        second.end(&Err(Error::Cancelled));
        assert_eq!(tasks.metrics.tasks.with_label_values(&["train", "cancelled"]).get(), 2);
        tasks.report(progress(1, 99));
        assert!(tasks.progress().is_empty(), "reports after the end of a task are ignored");
    }
}
