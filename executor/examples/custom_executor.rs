//! A custom executor: Ballista's executor process with your settings and the Tusk plugin.
//!
//! ```text
//! cargo run -p tusk-executor --example custom_executor -- SCHEDULER_HOST MODEL_STORE
//! ```

use std::sync::Arc;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use tusk_executor::{CacheLimits, Plugin, PluginSettings, install, start_reporting};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let scheduler_host = words.next().unwrap_or_else(|| "localhost".to_owned());
    let store = words.next().unwrap_or_else(|| "tusk-store".to_owned());
    tusk_process::logs::init(tusk_process::logs::LogFormat::Text, "info")?;

    // Tusk's settings: the model store, the limits of the shard cache, and the devices.
    let cache = CacheLimits::from_env()?;
    let plugin = Arc::new(Plugin::new(&PluginSettings { store, cache, ..PluginSettings::default() })?);

    // Ballista's settings. Add your own functions and settings here.
    let work_dir = tempfile::tempdir()?;
    let config = ExecutorProcessConfig {
        scheduler_host,
        external_host: Some("localhost".to_owned()),
        work_dir: Some(work_dir.path().display().to_string()),
        executor_heartbeat_interval_seconds: 5,
        ..ExecutorProcessConfig::default()
    };
    let config = install(config, &plugin);

    // From these reports the scheduler learns how many workers to start and which executor holds which shard.
    let reports = start_reporting(&plugin, &config, "localhost")?;
    start_executor_process(Arc::new(config)).await?;
    reports.abort();
    Ok(())
}
