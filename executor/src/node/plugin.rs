//! The Tusk plugin, which lets a Ballista executor train and predict. `tusk-executor`, the embedded executor and custom
//! executors all use it.

use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::{ConfigProducer, RuntimeProducer};
use ballista_executor::executor_process::ExecutorProcessConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::engine::{Predictor, with_engine};
use tusk_core::event::{NoProgress, SharedProgress};
use tusk_core::plans::CheckedCodec;
use tusk_core::store::{EnvironmentStores, ModelStore, table_runtime};
use tusk_core::task_models::TaskModels;
use tusk_process::tls::ClientTls;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

use crate::error::{Error, Result};
use crate::job::engine::TorchEngine;
use crate::node::stage::EncodingEngine;
use crate::predict::predictor::TorchPredictor;
use crate::runtime::devices::DevicePool;
use crate::shard::CacheLimits;
use crate::train::parameter_client::SchedulerAddress;

/// The settings of the plugin.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// The model store for predictions, as a path or a URL. Training tasks name their own store.
    pub store: String,
    /// The limits of the shard cache.
    pub cache: CacheLimits,
    /// The devices, in the syntax of [`DevicePool::new`].
    pub devices: String,
    /// The number of workers that share a device.
    pub workers_per_device: usize,
    /// The number of threads of all workers together.
    pub threads: usize,
    /// TLS for connections to the scheduler and other executors. `None` means plaintext.
    pub tls: Option<ClientTls>,
}

impl Default for PluginSettings {
    /// The store `./tusk-store`, all devices, one thread per processor, and no TLS.
    fn default() -> Self {
        Self {
            store: "tusk-store".to_owned(),
            cache: CacheLimits::default(),
            devices: "auto".to_owned(),
            workers_per_device: 1,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            tls: None,
        }
    }
}

/// The training engine, the SQL functions and the codecs, for [`install`].
pub struct Plugin {
    pub(crate) engine: Arc<TorchEngine>,
    pub(crate) config: SessionConfig,
    pub(crate) runtime: Option<Arc<RuntimeEnv>>,
    pub(crate) functions: Arc<BallistaFunctionRegistry>,
    pub(crate) threads_per_worker: usize,
    pub(crate) endpoint: Option<EndpointOverrideFn>,
    /// The context in which plans are decoded.
    pub(crate) context: Arc<TaskContext>,
    logical: Arc<dyn LogicalExtensionCodec>,
    pub(crate) physical: Arc<dyn PhysicalExtensionCodec>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Plugin {
    /// Creates a plugin that predicts with the models of the settings' store.
    ///
    /// # Errors
    /// When the store, the devices or the certificates cannot be used.
    pub fn new(settings: &PluginSettings) -> Result<Self> {
        let store = ModelStore::open(&settings.store)?;
        let predictor: Arc<dyn Predictor> = Arc::new(TorchPredictor::new(store, settings.threads));
        Self::with(settings, &predictor, None, Arc::new(NoProgress))
    }

    /// Creates a plugin with an existing predictor, runtime and progress sink.
    ///
    /// # Errors
    /// When the devices or the certificates cannot be used.
    pub fn with(
        settings: &PluginSettings,
        predictor: &Arc<dyn Predictor>,
        runtime: Option<Arc<RuntimeEnv>>,
        progress: SharedProgress,
    ) -> Result<Self> {
        let logical: Arc<dyn LogicalExtensionCodec> = logical_codec();
        let physical: Arc<dyn PhysicalExtensionCodec> = physical_codec();
        let devices = DevicePool::new(&settings.devices, settings.workers_per_device)?;
        let threads_per_worker = (settings.threads / devices.workers().max(1)).max(1);
        let engine = Arc::new(TorchEngine::new(settings.cache.clone(), Arc::clone(&physical), devices, progress)?);
        let mut config = session_config().with_target_partitions(settings.threads.max(1));
        let endpoint = match &settings.tls {
            None => None,
            Some(tls) => Some(tls.endpoint_override().map_err(|source| Error::Tls { source })?),
        };
        if let Some(endpoint) = &endpoint {
            config = config
                .with_ballista_use_tls(true)
                .with_ballista_override_create_grpc_client_endpoint(Arc::clone(endpoint));
        }
        let for_plans = match &runtime {
            Some(runtime) => Arc::clone(runtime),
            None => table_runtime().build_arc()?,
        };
        let state = session_builder(config.clone(), for_plans, predictor).build();
        Ok(Self {
            config: with_engine(config, Arc::clone(&engine) as _),
            engine,
            runtime,
            functions: Arc::new((&state).into()),
            context: state.task_ctx(),
            threads_per_worker,
            endpoint,
            logical,
            physical,
        })
    }

    /// The number of workers that train at a time.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.engine.devices().workers()
    }

    /// Registers the plugin's metrics with a Prometheus registry.
    ///
    /// # Errors
    /// When the registry has metrics of the same names.
    pub fn register(&self, registry: &prometheus::Registry) -> Result<()> {
        Ok(self.engine.tasks().metrics.register(registry)?)
    }

    /// Sets the address of the scheduler, as `http://host:port`.
    pub(crate) fn set_scheduler(&self, url: String) {
        self.engine.set_scheduler(SchedulerAddress { url, endpoint: self.endpoint.clone() });
    }

    /// The codec of plans.
    pub(crate) fn codec(&self) -> CheckedCodec {
        BallistaCodec::new(Arc::clone(&self.logical), Arc::clone(&self.physical))
    }
}

/// Installs the plugin in the configuration of a Ballista executor: its operator, functions and codecs. Tasks are
/// pushed by the scheduler.
///
/// `tusk-executor` also checks plans before Ballista decodes them. Ballista's own process does not, so its ports must
/// be reachable from the cluster only.
#[must_use]
pub fn install(config: ExecutorProcessConfig, plugin: &Plugin) -> ExecutorProcessConfig {
    plugin.set_scheduler(format!("http://{}:{}", config.scheduler_host, config.scheduler_port));
    let runtime = plugin.runtime.clone();
    ExecutorProcessConfig {
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        override_config_producer: Some(task_sessions(plugin.config.clone())),
        override_runtime_producer: match runtime {
            Some(runtime) => Some(Arc::new(move |_| Ok(Arc::clone(&runtime)))),
            None => config.override_runtime_producer.or_else(|| Some(runtime_producer(config.work_dir.clone()))),
        },
        override_execution_engine: Some(Arc::new(match config.override_execution_engine {
            Some(engine) => EncodingEngine::over(engine),
            None => EncodingEngine::pooled(config.client_ttl),
        })),
        override_function_registry: Some(Arc::clone(&plugin.functions)),
        override_logical_codec: Some(Arc::clone(&plugin.logical)),
        override_physical_codec: Some(Arc::clone(&plugin.physical)),
        override_create_grpc_client_endpoint: plugin.endpoint.clone().or(config.override_create_grpc_client_endpoint),
        ..config
    }
}

/// Creates the sessions of tasks. Ballista requests one session per launch, so the tasks of a launch predict with the
/// same models, and the next launch uses the models that are published then.
pub(crate) fn task_sessions(config: SessionConfig) -> ConfigProducer {
    Arc::new(move || config.clone().with_option_extension(TaskModels::default()))
}

/// Creates the runtimes of tasks. They spill to Ballista's work folder, and share the object stores of tables, which
/// are opened once.
fn runtime_producer(work_dir: Option<String>) -> RuntimeProducer {
    let stores = Arc::new(EnvironmentStores::default());
    Arc::new(move |_| {
        let builder = RuntimeEnvBuilder::new().with_object_store_registry(Arc::clone(&stores) as _);
        let folder = work_dir.clone().map(|folder| builder.clone().with_temp_file_path(folder));
        folder.unwrap_or(builder).build_arc()
    })
}

#[cfg(test)]
mod tests {
    use tusk_core::engine::EngineExtension;

    use super::*;

    #[test]
    fn an_executor_with_the_plugin_has_the_engine_the_functions_and_the_codecs() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().display().to_string();
        let settings = PluginSettings { store, devices: "fake:3".to_owned(), threads: 7, ..PluginSettings::default() };
        let plugin = Plugin::new(&settings).unwrap();
        assert_eq!((plugin.workers(), plugin.threads_per_worker), (3, 2));
        let config = install(ExecutorProcessConfig { vcores: 5, ..ExecutorProcessConfig::default() }, &plugin);
        assert_eq!(config.vcores, 5);
        let sessions = config.override_config_producer.unwrap();
        assert!(sessions().get_extension::<EngineExtension>().is_some());
        assert!(TaskModels::of(sessions().options()).is_some());
        let functions = config.override_function_registry.unwrap();
        for name in ["predict", "decode_image", "abs"] {
            assert!(functions.scalar_functions.contains_key(name), "{name}");
        }
        assert!(functions.aggregate_functions.contains_key("roc_auc"));
        assert!(config.override_execution_engine.is_some());
        assert!(config.override_physical_codec.is_some() && config.override_logical_codec.is_some());
        let registry = prometheus::Registry::new();
        plugin.register(&registry).unwrap();
        assert!(plugin.register(&registry).is_err(), "the metrics are registered twice");
    }
}
