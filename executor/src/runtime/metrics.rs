//! The metrics of an executor, for Prometheus and for reports to the scheduler.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tusk_core::protocol::ExecutorTotals;

/// The upper bounds of the histogram buckets for the seconds of a phase.
const SECONDS: [f64; 14] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0, 3600.0];

/// The metrics of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) images_decoded: IntCounter,
    pub(crate) images_trained: IntCounter,
    pub(crate) images_scored: IntCounter,
    pub(crate) shard_hits: IntCounter,
    pub(crate) shard_misses: IntCounter,
    pub(crate) report_failures: IntCounter,
    /// Finished tasks by phase and outcome.
    pub(crate) tasks: IntCounterVec,
    /// Seconds of tasks by phase.
    pub(crate) seconds: HistogramVec,
    pub(crate) shards: IntGauge,
    pub(crate) shard_memory_bytes: IntGauge,
    pub(crate) shard_disk_bytes: IntGauge,
    pub(crate) devices: IntGauge,
    pub(crate) devices_busy: IntGauge,
    pub(crate) tasks_waiting: IntGauge,
}

impl Metrics {
    /// Creates metrics that are zero and not registered.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| IntCounter::new(format!("tusk_executor_{name}"), help);
        let gauge = |name: &str, help: &str| IntGauge::new(format!("tusk_executor_{name}"), help);
        let seconds = HistogramOpts::new(
            "tusk_executor_phase_seconds",
            "Seconds of a task by phase: decode, pull (read weights), train, validate, adapt (measure statistics), push (send the update), exchange (pull and push, of a whole run).",
        );
        let tasks = Opts::new("tusk_executor_tasks_total", "Finished tasks, by phase and outcome.");
        Ok(Self {
            images_decoded: counter("images_decoded_total", "Images decoded into shards.")?,
            images_trained: counter("images_trained_total", "Images trained on.")?,
            images_scored: counter(
                "images_scored_total",
                "Images scored for validation, or measured to adapt a model.",
            )?,
            shard_hits: counter("shard_hits_total", "Tasks that found their shard in the cache.")?,
            shard_misses: counter("shard_misses_total", "Tasks that had to build their shard.")?,
            report_failures: counter("report_failures_total", "Failed reports to the scheduler.")?,
            tasks: IntCounterVec::new(tasks, &["phase", "outcome"])?,
            seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["phase"])?,
            shards: gauge("shards", "Shards in the cache.")?,
            shard_memory_bytes: gauge("shard_memory_bytes", "Bytes of shards in memory.")?,
            shard_disk_bytes: gauge("shard_disk_bytes", "Bytes of shards on disk.")?,
            devices: gauge("devices", "Training tasks that can compute at the same time.")?,
            devices_busy: gauge("devices_busy", "Training tasks that are computing.")?,
            tasks_waiting: gauge("tasks_waiting", "Training tasks that are waiting for a device.")?,
        })
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let all: [Box<dyn Collector>; 14] = [
            Box::new(self.images_decoded.clone()),
            Box::new(self.images_trained.clone()),
            Box::new(self.images_scored.clone()),
            Box::new(self.shard_hits.clone()),
            Box::new(self.shard_misses.clone()),
            Box::new(self.report_failures.clone()),
            Box::new(self.tasks.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.shards.clone()),
            Box::new(self.shard_memory_bytes.clone()),
            Box::new(self.shard_disk_bytes.clone()),
            Box::new(self.devices.clone()),
            Box::new(self.devices_busy.clone()),
            Box::new(self.tasks_waiting.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))
    }

    /// Records the seconds of one phase of a task.
    pub(crate) fn observe(&self, phase: &str, seconds: f64) {
        self.seconds.with_label_values(&[phase]).observe(seconds);
    }

    /// Returns the totals for a report to the scheduler.
    pub(crate) fn totals(&self) -> ExecutorTotals {
        ExecutorTotals {
            images_decoded: self.images_decoded.get(),
            images_trained: self.images_trained.get(),
            images_scored: self.images_scored.get(),
            shard_hits: self.shard_hits.get(),
            shard_misses: self.shard_misses.get(),
            shard_memory_bytes: u64::try_from(self.shard_memory_bytes.get()).unwrap_or(0),
            shard_disk_bytes: u64::try_from(self.shard_disk_bytes.get()).unwrap_or(0),
        }
    }
}
