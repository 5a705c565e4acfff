//! Tests of the device pool: exclusive use, sharing, the queue, and cancellation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tusk_core::ids::{RunId, WorkerId};

use super::*;

static NEVER: AtomicBool = AtomicBool::new(false);

fn work(worker: u32) -> DeviceWork {
    DeviceWork { run: RunId::from("run-test".to_owned()), worker: WorkerId(worker), epoch: 1 }
}

fn pool(spec: &str, per_device: usize, cuda: usize) -> Arc<DevicePool> {
    Arc::new(DevicePool::on_machine(spec, per_device, cuda).unwrap())
}

fn names(spec: &str, cuda: usize) -> Vec<String> {
    pool(spec, 1, cuda).report().into_iter().map(|device| device.name).collect()
}

#[test]
fn auto_means_all_cuda_devices_or_the_cpu() {
    assert_eq!(names("auto", 0), ["cpu"]);
    assert_eq!(names("auto", 3), ["cuda:0", "cuda:1", "cuda:2"]);
    assert_eq!(names("cuda:2, cuda:0", 3), ["cuda:2", "cuda:0"]);
    assert_eq!(names("fake:2", 0), ["fake:0", "fake:1"]);
}

#[test]
fn an_invalid_list_of_devices_is_refused_with_the_reason() {
    for (spec, reason) in [
        ("cuda:1", "device cuda:1 not found; this process sees 1 CUDA devices"),
        ("gpu", "use auto, cpu, cuda:N, or a list"),
        ("", "use auto, cpu, cuda:N, or a list"),
        ("cuda:0,cuda:0", "duplicate device cuda:0"),
        ("fake:0", "fake:N must be from 1 to 64"),
        ("fake:many", "fake:N must be from 1 to 64"),
    ] {
        let error = DevicePool::on_machine(spec, 1, 1).unwrap_err().to_string();
        assert!(error.contains(reason), "{spec}: {error}");
    }
    assert!(
        DevicePool::on_machine("cpu", 0, 0)
            .unwrap_err()
            .to_string()
            .contains("workers per device must be from 1 to 64, got 0")
    );
}

/// Runs each task on its own thread and returns the largest number of simultaneous tasks per device.
fn run(pool: &Arc<DevicePool>, tasks: u32) -> BTreeMap<String, usize> {
    let on: Mutex<BTreeMap<String, (usize, usize)>> = Mutex::default();
    std::thread::scope(|scope| {
        for task in 0..tasks {
            let on = &on;
            scope.spawn(move || {
                let lease = pool.acquire(Wanted::Auto, work(task), &NEVER).unwrap();
                let name = lease.name();
                {
                    let mut on = on.lock().unwrap();
                    let (now, most) = on.entry(name.clone()).or_default();
                    *now += 1;
                    *most = (*most).max(*now);
                }
                std::thread::sleep(Duration::from_millis(5));
                on.lock().unwrap().get_mut(&name).unwrap().0 -= 1;
            });
        }
    });
    on.into_inner().unwrap().into_iter().map(|(name, (_, most))| (name, most)).collect()
}

#[test]
fn tasks_do_not_share_devices_by_default_and_all_devices_are_used() {
    let most = run(&pool("fake:3", 1, 0), 24);
    let wanted: BTreeMap<String, usize> = (0..3).map(|n| (format!("fake:{n}"), 1)).collect();
    assert_eq!(most, wanted);
}

#[test]
fn as_many_tasks_share_a_device_as_configured() {
    let pool = pool("fake:2", 2, 0);
    assert_eq!(pool.workers(), 4);
    let leases: Vec<DeviceLease> = (0..4).map(|n| pool.acquire(Wanted::Auto, work(n), &NEVER).unwrap()).collect();
    let on: Vec<String> = leases.iter().map(DeviceLease::name).collect();
    assert_eq!(on, ["fake:0", "fake:1", "fake:0", "fake:1"], "the device with the fewest tasks is first");
    assert!(pool.report().iter().all(|device| device.busy.is_some()));
    drop(leases);
    assert!(pool.report().iter().all(|device| device.busy.is_none()));
    assert!(run(&pool, 24).values().all(|most| *most <= 2));
}

#[test]
fn a_waiting_task_that_is_cancelled_leaves_the_queue() {
    let pool = pool("fake:1", 1, 0);
    let lease = pool.acquire(Wanted::Auto, work(0), &NEVER).unwrap();
    let cancelled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pool.acquire(Wanted::Auto, work(1), &cancelled).map(|_| ()));
        while pool.waiting() < 1 {
            std::thread::yield_now();
        }
        let second = scope.spawn(|| pool.acquire(Wanted::Auto, work(2), &NEVER).map(|lease| lease.name()));
        while pool.waiting() < 2 {
            std::thread::yield_now();
        }
        cancelled.store(true, Ordering::Relaxed);
        assert!(matches!(first.join().unwrap(), Err(Error::Cancelled)));
        drop(lease);
        assert_eq!(second.join().unwrap().unwrap(), "fake:0");
    });
    assert_eq!(pool.waiting(), 0);
}

#[test]
fn a_request_by_name_gets_that_device() {
    let pool = pool("cuda:0,cuda:1", 1, 2);
    let second = pool.acquire(Wanted::Cuda(1), work(0), &NEVER).unwrap();
    assert_eq!(second.device(), tch::Device::Cuda(1));
    let any = pool.acquire(Wanted::Auto, work(1), &NEVER).unwrap();
    assert_eq!(any.device(), tch::Device::Cuda(0));
    let cpu = pool.acquire(Wanted::Cpu, work(2), &NEVER).unwrap();
    assert_eq!(cpu.device(), tch::Device::Cpu, "the CPU is available by name even if it is not in the list");
    let error = pool.acquire(Wanted::Cuda(2), work(3), &NEVER).unwrap_err().to_string();
    assert!(error.starts_with("device cuda:2 not found: it is not in the executor's --devices"), "{error}");
}

#[test]
fn a_task_that_waits_for_one_device_does_not_delay_tasks_that_can_use_another() {
    let mut slots = pool("cuda:0,cuda:1", 1, 2);
    let slots = Arc::get_mut(&mut slots).unwrap().slots.get_mut().unwrap();
    let first = slots.enqueue(Wanted::Cuda(0));
    assert_eq!(slots.turn(first), Some(0));
    slots.occupy(first, 0, work(0));
    let (same, any, late) = (slots.enqueue(Wanted::Cuda(0)), slots.enqueue(Wanted::Auto), slots.enqueue(Wanted::Auto));
    assert_eq!((slots.turn(same), slots.turn(any), slots.turn(late)), (None, Some(1), None));
    slots.release(first, 0);
    assert_eq!((slots.turn(same), slots.turn(any), slots.turn(late)), (Some(0), Some(1), None), "in order of arrival");
    let unknown: BTreeSet<Option<usize>> = [slots.turn(99)].into();
    assert_eq!(unknown, [None].into());
}

#[test]
fn a_free_device_is_acquired_without_delay() {
    let pool = pool("fake:1", 1, 0);
    let started = Instant::now();
    for n in 0..1000 {
        drop(pool.acquire(Wanted::Auto, work(n), &NEVER).unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
