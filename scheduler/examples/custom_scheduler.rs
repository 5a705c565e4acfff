//! A scheduler of one's own with Tusk in it: Ballista's settings, a catalog, a store, and whatever else the process does.
//!
//! ```sh
//! cargo run --example custom_scheduler -- /shared/store /shared/data
//! ```

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ballista_scheduler::config::SchedulerConfig;
use tokio::net::TcpListener;
use tusk_core::store::ModelStore;
use tusk_scheduler::{Catalog, NodeSettings, SchedulerNode};
use tusk_udfs::session::session_config;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let store = arguments.next().unwrap_or_else(|| "tusk-store".to_owned());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 50050)).await?;
    let node = SchedulerNode::start(
        listener,
        NodeSettings {
            // Ballista's own settings; placement, codecs and sessions are Tusk's.
            ballista: SchedulerConfig { executor_timeout_seconds: 20, ..SchedulerConfig::default() },
            session: session_config(),
            runtime: Arc::default(),
            store: ModelStore::open(&store)?,
            threads: 1,
            catalog: arguments.next().map(|data| Catalog::open(Path::new(&data))).transpose()?.unwrap_or_default(),
            tables: None,
            users: None,
            server_tls: None,
            client_tls: None,
        },
    );
    let node = node.await?;
    node.training().resume_all().await?;
    tokio::signal::ctrl_c().await?;
    node.drain(Duration::from_secs(10)).await;
    Ok(())
}
