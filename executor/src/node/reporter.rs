//! Reports the state of this executor to the scheduler: once a second, and when a task starts or ends.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use ballista_executor::executor_process::ExecutorProcessConfig;
use futures::TryStreamExt;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tonic::transport::{Channel, Endpoint};
use tusk_core::protocol::{ExecutorReport, REPORT_ACTION, SHARDS_MAX, WIRE_VERSION};

use crate::node::plugin::Plugin;

/// The longest time between two reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a change. The tasks of a job start together, so that one report covers them.
const SETTLE: Duration = Duration::from_millis(50);

/// How long the scheduler may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The identity of the executor that reports.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The executor's id in Ballista.
    pub executor_id: String,
    /// The address under which other nodes reach the executor.
    pub host: String,
}

impl Plugin {
    /// Returns the current state of the executor, and updates its metrics.
    #[must_use]
    pub fn report(&self, identity: &Identity) -> ExecutorReport {
        let (tasks, devices) = (self.engine.tasks(), self.engine.devices().report());
        let (mut shards, memory, disk) = self.engine.cache().contents();
        let metrics = &tasks.metrics;
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.shards.set(gauge(shards.len()));
        metrics.shard_memory_bytes.set(bytes(memory));
        metrics.shard_disk_bytes.set(bytes(disk));
        metrics.devices.set(gauge(self.workers()));
        metrics.devices_busy.set(gauge(devices.iter().filter(|device| device.busy.is_some()).count()));
        metrics.tasks_waiting.set(gauge(self.engine.devices().waiting()));
        shards.truncate(SHARDS_MAX);
        ExecutorReport {
            wire_version: WIRE_VERSION,
            executor_id: identity.executor_id.clone(),
            host: identity.host.clone(),
            version: tusk_process::version::TUSK_VERSION.to_owned(),
            devices,
            threads_per_device: u32::try_from(self.threads_per_worker).unwrap_or(u32::MAX),
            shards,
            progress: tasks.progress(),
            totals: metrics.totals(),
        }
    }
}

/// Reports to the scheduler of `config` until the handle is aborted. `host` is the address under which other nodes
/// reach the executor.
///
/// # Errors
/// When the scheduler's address is invalid.
pub fn start_reporting(
    plugin: &Arc<Plugin>,
    config: &ExecutorProcessConfig,
    host: &str,
) -> Result<JoinHandle<()>, tonic::transport::Error> {
    let url = format!("http://{}:{}", config.scheduler_host, config.scheduler_port);
    let mut endpoint = Endpoint::from_shared(url)?.connect_timeout(RESPONSE_TIMEOUT);
    if let Some(secure) = &plugin.endpoint {
        // This cannot fail: the certificates were read when the plugin was created.
        endpoint = secure(endpoint.clone()).unwrap_or(endpoint);
    }
    let identity = Identity { executor_id: config.executor_id.clone(), host: host.to_owned() };
    Ok(tokio::spawn(report_forever(Arc::clone(plugin), identity, endpoint.connect_lazy())))
}

async fn report_forever(plugin: Arc<Plugin>, identity: Identity, channel: Channel) {
    let changed = plugin.engine.devices().changed();
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_accepted = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
        }
        match (send(&plugin.report(&identity), channel.clone()).await, is_accepted) {
            (Ok(()), false) => {
                tracing::info!("the scheduler accepts reports again");
                is_accepted = true;
            }
            (Ok(()), true) => {}
            (Err(error), _) => {
                plugin.engine.tasks().metrics.report_failures.inc();
                if is_accepted {
                    tracing::warn!(%error, "failed to report to the scheduler, will retry");
                } else {
                    tracing::debug!(%error, "failed to report to the scheduler");
                }
                is_accepted = false;
            }
        }
    }
}

async fn send(report: &ExecutorReport, channel: Channel) -> Result<(), String> {
    let body = serde_json::to_vec(report).map_err(|e| e.to_string())?;
    let action = Action { r#type: REPORT_ACTION.to_owned(), body: body.into() };
    let sent = async {
        let response = FlightServiceClient::new(channel).do_action(action).await?;
        response.into_inner().try_for_each(|_| std::future::ready(Ok(()))).await
    };
    match tokio::time::timeout(RESPONSE_TIMEOUT, sent).await {
        Ok(result) => result.map_err(|status| format!("{}: {}", status.code(), status.message())),
        Err(_) => Err("no response".to_owned()),
    }
}

#[cfg(test)]
#[path = "reporter_tests.rs"]
mod tests;
