//! The embedded cluster: a scheduler and an executor in this process, speaking to each other as on a real cluster.

use std::sync::Arc;

use ballista_core::serde::BallistaCodec;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::engine::{Predictor, with_engine};
use tusk_core::event::SharedProgress;
use tusk_executor::{CacheLimits, EmbeddedExecutor, ExecutorSettings, TorchEngine};
use tusk_scheduler::{EmbeddedScheduler, SchedulerSettings};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

use crate::error::Result;

/// The largest gRPC message, in bytes: Ballista's default.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A scheduler and an executor. They stop when this is dropped.
#[derive(Debug)]
pub(crate) struct EmbeddedCluster {
    // Dropped in this order: an executor whose scheduler is gone complains.
    _executor: EmbeddedExecutor,
    scheduler: EmbeddedScheduler,
}

impl EmbeddedCluster {
    /// Starts both.
    pub(crate) async fn start(
        threads: usize,
        cache: CacheLimits,
        runtime: Arc<RuntimeEnv>,
        predictor: &Arc<dyn Predictor>,
        progress: SharedProgress,
    ) -> Result<Self> {
        let logical: Arc<dyn LogicalExtensionCodec> = logical_codec();
        let physical: Arc<dyn PhysicalExtensionCodec> = physical_codec();
        let config = session_config().with_target_partitions(threads);
        let (scheduler_runtime, plan_only): (_, Arc<dyn Predictor>) = (Arc::clone(&runtime), Arc::new(PlanOnly));
        let session = move |config| {
            let rules = ballista_core::optimizer::ballista_default_optimizer_rules();
            let builder = session_builder(config, Arc::clone(&scheduler_runtime), &plan_only);
            Ok(builder.with_optimizer_rules(rules).build())
        };
        let scheduler = EmbeddedScheduler::start(SchedulerSettings {
            session_builder: Arc::new(session),
            config: config.clone(),
            logical_codec: Arc::clone(&logical),
            physical_codec: Arc::clone(&physical),
            message_bytes_max: MESSAGE_BYTES_MAX,
        })
        .await?;
        let engine = TorchEngine::new(cache, Arc::clone(&physical), progress);
        let functions = session_builder(config.clone(), Arc::clone(&runtime), predictor).build();
        let executor = EmbeddedExecutor::start(ExecutorSettings {
            scheduler_url: scheduler.url(),
            vcores: threads,
            message_bytes_max: MESSAGE_BYTES_MAX,
            config: with_engine(config, Arc::new(engine)),
            runtime,
            codec: BallistaCodec::new(logical, physical),
            functions: (&functions).into(),
        })
        .await?;
        Ok(Self { _executor: executor, scheduler })
    }

    /// Where the scheduler listens.
    pub(crate) fn scheduler_url(&self) -> String {
        self.scheduler.url()
    }
}
