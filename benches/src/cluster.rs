//! A cluster in this process: a scheduler and executors with engines of the caller's, speaking over the loopback
//! interface as on many machines.

use std::sync::Arc;

use ballista_core::serde::BallistaCodec;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tusk_core::engine::{Predictor, TrainEngine, with_engine};
use tusk_core::store::ModelStore;
use tusk_executor::{EmbeddedExecutor, ExecutorSettings};
use tusk_scheduler::{EmbeddedScheduler, SchedulerSettings, ServiceSettings, TrainingService};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

/// The largest gRPC message, in bytes: Ballista's default.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A scheduler, executors, and the training service that submits to them. They stop when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    _executors: Vec<EmbeddedExecutor>,
    _scheduler: EmbeddedScheduler,
    /// Starts runs.
    pub training: TrainingService,
}

impl Cluster {
    /// Starts an executor for each engine, with `vcores` tasks at a time each; models go to the store at `store`.
    ///
    /// # Errors
    /// When no port is free or the store cannot be opened.
    pub async fn start(engines: Vec<Arc<dyn TrainEngine>>, vcores: usize, store: &str) -> anyhow::Result<Self> {
        let logical: Arc<dyn LogicalExtensionCodec> = logical_codec();
        let physical: Arc<dyn PhysicalExtensionCodec> = physical_codec();
        let plan_only: Arc<dyn Predictor> = Arc::new(PlanOnly);
        let workers = u32::try_from(engines.len())?;
        let config = session_config().with_target_partitions(engines.len() * vcores);
        let functions = session_builder(config.clone(), Arc::<RuntimeEnv>::default(), &plan_only).build();
        let session = move |config| {
            let rules = ballista_core::optimizer::ballista_default_optimizer_rules();
            let builder = session_builder(config, Arc::<RuntimeEnv>::default(), &plan_only);
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
        let mut executors = Vec::new();
        for engine in engines {
            let settings = ExecutorSettings {
                scheduler_url: scheduler.url(),
                vcores,
                message_bytes_max: MESSAGE_BYTES_MAX,
                config: with_engine(config.clone(), engine),
                runtime: Arc::default(),
                codec: BallistaCodec::new(Arc::clone(&logical), Arc::clone(&physical)),
                functions: (&functions).into(),
            };
            executors.push(EmbeddedExecutor::start(settings).await?);
        }
        let service = ServiceSettings {
            scheduler_url: scheduler.url(),
            store: ModelStore::open(store)?,
            codec: physical,
            workers,
            threads: 1,
            message_bytes_max: MESSAGE_BYTES_MAX,
        };
        let training = TrainingService::connect(service, Arc::default()).await?;
        Ok(Self { _executors: executors, _scheduler: scheduler, training })
    }
}

/// The columns of a training job's source.
#[must_use]
pub fn source_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![Field::new("image", DataType::Binary, true), text("label"), text("group"), text("name")]))
}
