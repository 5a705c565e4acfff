//! A cluster in this process: a scheduler and executors with given engines, which communicate over the loopback
//! interface.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ballista_core::serde::BallistaCodec;
use ballista_scheduler::config::SchedulerConfig;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::runtime_env::RuntimeEnv;
use tokio::net::TcpListener;
use tusk_core::engine::{Predictor, TrainEngine, with_engine};
use tusk_core::protocol::{DeviceReport, ExecutorReport, WIRE_VERSION};
use tusk_core::store::ModelStore;
use tusk_executor::{EmbeddedExecutor, ExecutorSettings};
use tusk_scheduler::{Catalog, NodeSettings, SchedulerNode, TrainingService};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

/// The largest gRPC message, in bytes: Ballista's default.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A scheduler and executors. They stop when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    _executors: Vec<EmbeddedExecutor>,
    scheduler: SchedulerNode,
}

impl Cluster {
    /// Starts one executor per engine, which runs `vcores` tasks at a time. Models are stored at `store`.
    ///
    /// # Errors
    /// When no port is free or the store cannot be opened.
    pub async fn start(engines: Vec<Arc<dyn TrainEngine>>, vcores: usize, store: &str) -> anyhow::Result<Self> {
        let plan_only: Arc<dyn Predictor> = Arc::new(PlanOnly);
        let config = session_config().with_target_partitions(engines.len() * vcores);
        let functions = session_builder(config.clone(), Arc::<RuntimeEnv>::default(), &plan_only).build();
        let functions = Arc::new((&functions).into());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let settings = NodeSettings {
            ballista: SchedulerConfig::default().with_hostname(address.ip().to_string()).with_port(address.port()),
            session: config.clone(),
            runtime: Arc::default(),
            store: ModelStore::open(store)?,
            threads: 1,
            catalog: Catalog::default(),
            tables: None,
            users: None,
            server_tls: None,
            client_tls: None,
        };
        let scheduler = SchedulerNode::start(listener, settings).await?;
        let mut executors = Vec::new();
        for (index, engine) in engines.into_iter().enumerate() {
            let executor_id = format!("executor-{index}");
            let settings = ExecutorSettings {
                executor_id: executor_id.clone(),
                scheduler_url: scheduler.url(),
                vcores: vcores + 1,
                message_bytes_max: MESSAGE_BYTES_MAX,
                config: with_engine(config.clone(), engine),
                runtime: Arc::default(),
                codec: BallistaCodec::new(logical_codec(), physical_codec()),
                functions: Arc::clone(&functions),
            };
            executors.push(EmbeddedExecutor::start(settings).await?);
            let report = ExecutorReport {
                wire_version: WIRE_VERSION,
                executor_id,
                devices: vec![DeviceReport { name: "cpu".to_owned(), busy: None }],
                threads_per_device: 1,
                ..ExecutorReport::default()
            };
            scheduler.take_report(report).map_err(anyhow::Error::msg)?;
        }
        Ok(Self { _executors: executors, scheduler })
    }

    /// The service that runs training.
    #[must_use]
    pub fn training(&self) -> &TrainingService {
        self.scheduler.training()
    }
}

/// The columns of a training job's source.
#[must_use]
pub fn source_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![Field::new("image", DataType::Binary, true), text("label"), text("group"), text("name")]))
}
