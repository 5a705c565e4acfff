//! Tests of reports to the scheduler.

use std::sync::atomic::AtomicBool;

use tusk_core::ids::{RunId, WorkerId};
use tusk_core::options::{Architecture, Device};
use tusk_core::protocol::DeviceWork;

use super::*;
use crate::node::plugin::PluginSettings;
use crate::shard::ShardKey;
use crate::testing::{definition, shard, squares, task};

fn identity() -> Identity {
    Identity { executor_id: "executor".to_owned(), host: "10.0.0.7".to_owned() }
}

#[tokio::test]
async fn a_report_contains_devices_shards_and_running_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().display().to_string();
    let settings = PluginSettings { store, devices: "fake:2".into(), threads: 4, ..PluginSettings::default() };
    let plugin = Plugin::new(&settings).unwrap();
    let idle = plugin.report(&identity());
    assert_eq!(
        (idle.wire_version, idle.executor_id.as_str(), idle.host.as_str()),
        (WIRE_VERSION, "executor", "10.0.0.7")
    );
    assert_eq!(
        idle.devices.iter().map(|d| (d.name.as_str(), d.busy.is_some())).collect::<Vec<_>>(),
        [("fake:0", false), ("fake:1", false)]
    );
    assert_eq!(idle.threads_per_device, 2);

    let cache = plugin.engine.cache();
    for name in ["old", "new"] {
        let records = squares(4);
        // The pixels are counted by another cache; only the keys are in the engine's cache.
        let build = async { shard(&crate::testing::cache(1 << 30, 0), &records, 0, 1, 32) };
        cache.get_or_build(ShardKey(name.to_owned()), build).await.unwrap();
    }
    let task = task(&definition(Architecture::CNN), 3);
    let running = {
        let work = DeviceWork { run: RunId::from("run-test".to_owned()), worker: WorkerId(1), epoch: 3 };
        let never = AtomicBool::new(false);
        plugin.engine.devices().acquire(Device::Auto, work, &never).unwrap()
    };
    let busy = plugin.report(&identity());
    assert_eq!(busy.shards, ["new", "old"], "the most recently used first");
    let work = busy.devices[0].busy.clone().unwrap();
    assert_eq!((work.run, work.worker.0, work.epoch), (task.run, 1, 3));
    let again: ExecutorReport = serde_json::from_slice(&serde_json::to_vec(&busy).unwrap()).unwrap();
    assert_eq!(again, busy);
    assert_eq!(plugin.engine.tasks().metrics.devices_busy.get(), 1);
    drop(running);
}

#[tokio::test]
async fn reporting_continues_while_the_scheduler_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let settings = PluginSettings { store: folder.path().display().to_string(), ..PluginSettings::default() };
    let plugin = Arc::new(Plugin::new(&settings).unwrap());
    // Nothing listens on port 9, the discard port.
    let config = ExecutorProcessConfig { scheduler_port: 9, ..ExecutorProcessConfig::default() };
    let reporting = start_reporting(&plugin, &config, "localhost").unwrap();
    let failures = &plugin.engine.tasks().metrics.report_failures;
    for _ in 0..100 {
        if failures.get() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(failures.get() >= 2 && !reporting.is_finished());
    reporting.abort();
}
