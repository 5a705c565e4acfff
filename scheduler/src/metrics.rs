//! The metrics of the scheduler for Prometheus, in addition to those of Ballista.

use std::sync::LazyLock;

use prometheus::{
    CounterVec, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
    default_registry,
};

fn registered<T: Collector + Clone + 'static>(metric: prometheus::Result<T>) -> T {
    #[expect(clippy::expect_used, reason = "names and labels are constants that the tests register")]
    let metric = metric.expect("the metric's name is valid");
    let registry: &Registry = default_registry();
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::warn!(%error, "failed to register metric");
    }
    metric
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ident = $text:literal $(, $labels:expr)?;)+) => {
        $($(#[doc = $doc])+
        pub(crate) static $name: LazyLock<$type> =
            LazyLock::new(|| registered($type::with_opts(Opts::new($text, concat!($($doc),+))) ));)+

        /// Registers every metric without labels, so that Prometheus sees a zero before its first change.
        pub(crate) fn register() {
            $(LazyLock::force(&$name);)+
        }
    };
}

macro_rules! vectors {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ident = $text:literal, $labels:expr;)+) => {
        $($(#[doc = $doc])+
        pub(crate) static $name: LazyLock<$type> =
            LazyLock::new(|| registered($type::new(Opts::new($text, concat!($($doc),+)), $labels)));)+
    };
}

metrics! {
    /// Jobs of runs that were lost with an executor and retried.
    JOB_RETRIES: IntCounter = "tusk_run_job_retries_total";
    /// Active training runs.
    RUNS_ACTIVE: IntGauge = "tusk_runs_active";
    /// Epochs finished.
    EPOCHS: IntCounter = "tusk_run_epochs_total";
    /// Images trained on, over all epochs.
    IMAGES_TRAINED: IntCounter = "tusk_run_images_trained_total";
    /// Images decoded into shards for epochs and profiles.
    IMAGES_DECODED: IntCounter = "tusk_run_images_decoded_total";
    /// Executors that have reported within the last 10 seconds.
    EXECUTORS: IntGauge = "tusk_scheduler_executors";
    /// Training devices of those executors.
    DEVICES: IntGauge = "tusk_scheduler_devices";
    /// SQL sessions that are open.
    SESSIONS: IntGauge = "tusk_scheduler_sql_sessions";
    /// Statements whose rows wait to be fetched.
    STATEMENTS_WAITING: IntGauge = "tusk_scheduler_sql_statements_waiting";
    /// Requests refused because of a missing or wrong identity or right.
    REFUSED: IntCounter = "tusk_scheduler_refused_total";
}

vectors! {
    /// Seconds of finished epochs by part: decode, train, validate, exchange, aggregate, checkpoint, other.
    EPOCH_SECONDS: CounterVec = "tusk_run_epoch_seconds_total", &["part"];
    /// Statements by kind and outcome.
    STATEMENTS: IntCounterVec = "tusk_scheduler_statements_total", &["kind", "outcome"];
    /// Pushes of workers that exchange weights, by outcome: applied, repeated, refused.
    PUSHES: IntCounterVec = "tusk_run_pushes_total", &["outcome"];
    /// Pushes by other workers between a worker's pull and its push, over a model's last run: mean and max.
    STALENESS: GaugeVec = "tusk_run_staleness", &["model", "of"];
    /// Last finished epoch of a model's run.
    RUN_EPOCH: IntGaugeVec = "tusk_run_epoch", &["model"];
    /// Images decoded in the last epoch of a model's run; 0 if every worker found its shard.
    RUN_DECODED: IntGaugeVec = "tusk_run_epoch_images_decoded", &["model"];
}
