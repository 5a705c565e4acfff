//! The embedded cluster: a scheduler and an executor in this process, speaking to each other as on a real cluster.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::engine::Predictor;
use tusk_core::event::SharedProgress;
use tusk_executor::{CacheLimits, EmbeddedExecutor, ExecutorSettings, Plugin, PluginSettings};
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
            config,
            logical_codec: logical,
            physical_codec: physical,
            message_bytes_max: MESSAGE_BYTES_MAX,
        })
        .await?;
        let settings = PluginSettings { cache, threads, ..PluginSettings::default() };
        let plugin = Plugin::with(&settings, predictor, Some(runtime), progress).map_err(DataFusionError::from)?;
        let executor = EmbeddedExecutor::start(ExecutorSettings {
            scheduler_url: scheduler.url(),
            vcores: threads,
            message_bytes_max: MESSAGE_BYTES_MAX,
            plugin: Arc::new(plugin),
        })
        .await?;
        Ok(Self { _executor: executor, scheduler })
    }

    /// Where the scheduler listens.
    pub(crate) fn scheduler_url(&self) -> String {
        self.scheduler.url()
    }
}
