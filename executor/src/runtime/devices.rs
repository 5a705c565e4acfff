//! Assigns devices to tasks. A task holds a device while it computes. Tasks share a device only if the executor's flags
//! allow it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tusk_core::options::Device as Wanted;
use tusk_core::protocol::{DeviceReport, DeviceWork};

use crate::error::{Error, Result};

/// The largest number of devices of `fake:N`, and of workers that share a device.
const MAX: usize = 64;

/// How often a waiting thread checks whether its task was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A device and its name in flags, logs and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PoolDevice {
    name: String,
    torch: tch::Device,
}

/// Parses `--devices` for a machine with this many CUDA devices.
fn parse(text: &str, cuda: usize) -> Result<Vec<PoolDevice>> {
    let refuse = |reason: String| Error::Devices { given: text.to_owned(), reason };
    let device = |n: usize| PoolDevice { name: format!("cuda:{n}"), torch: tch::Device::Cuda(n) };
    let cpu = |name: String| PoolDevice { name, torch: tch::Device::Cpu };
    match text.trim() {
        "auto" if cuda > 0 => return Ok((0..cuda).map(device).collect()),
        "auto" | "cpu" => return Ok(vec![cpu("cpu".to_owned())]),
        _ => {}
    }
    if let Some(count) = text.trim().strip_prefix("fake:") {
        let count = count.parse().ok().filter(|n| (1..=MAX).contains(n));
        let count: usize = count.ok_or_else(|| refuse(format!("fake:N must be from 1 to {MAX}")))?;
        return Ok((0..count).map(|n| cpu(format!("fake:{n}"))).collect());
    }
    let mut devices = Vec::new();
    for word in text.split(',').map(str::trim) {
        let found = match (word, word.strip_prefix("cuda:").and_then(|n| n.parse().ok())) {
            ("cpu", _) => cpu("cpu".to_owned()),
            (_, Some(n)) if n < cuda => device(n),
            (_, Some(_)) => {
                return Err(refuse(format!("device {word} not found; this process sees {cuda} CUDA devices")));
            }
            _ => return Err(refuse("use auto, cpu, cuda:N, or a list separated by commas".to_owned())),
        };
        if devices.contains(&found) {
            return Err(refuse(format!("duplicate device {word}; use --workers-per-device to share a device")));
        }
        devices.push(found);
    }
    Ok(devices)
}

/// A device with the tasks that compute on it.
#[derive(Debug)]
struct Slot {
    device: PoolDevice,
    /// Whether tasks that accept any device may take it.
    offered: bool,
    /// The tickets and descriptions of the tasks.
    busy: Vec<(u64, DeviceWork)>,
}

impl Slot {
    fn serves(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Auto => self.offered,
            Wanted::Cpu => self.device.torch == tch::Device::Cpu,
            Wanted::Cuda(n) => self.device.torch == tch::Device::Cuda(n),
        }
    }
}

/// The state of a pool: the devices and the queue of waiting tasks. It is separate from threads and time, so that it
/// can be tested.
#[derive(Debug)]
struct Slots {
    slots: Vec<Slot>,
    per_device: usize,
    waiting: VecDeque<(u64, Wanted)>,
    next_ticket: u64,
}

impl Slots {
    fn enqueue(&mut self, wanted: Wanted) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back((ticket, wanted));
        ticket
    }

    /// Returns the index of the device for a ticket, or `None` if it has to wait. Earlier tickets are served first if
    /// there is a device for them. The device with the fewest tasks is preferred.
    fn turn(&self, ticket: u64) -> Option<usize> {
        let mut load: Vec<usize> = self.slots.iter().map(|slot| slot.busy.len()).collect();
        for (other, wanted) in &self.waiting {
            let free = |at: &usize| self.slots[*at].serves(*wanted) && load[*at] < self.per_device;
            let chosen = (0..self.slots.len()).filter(free).min_by_key(|at| load[*at]);
            match (chosen, *other == ticket) {
                (chosen, true) => return chosen,
                (Some(chosen), false) => load[chosen] += 1,
                (None, false) => {}
            }
        }
        None
    }

    fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|(other, _)| *other != ticket);
    }

    fn occupy(&mut self, ticket: u64, at: usize, work: DeviceWork) {
        self.leave(ticket);
        self.slots[at].busy.push((ticket, work));
    }

    fn release(&mut self, ticket: u64, at: usize) {
        self.slots[at].busy.retain(|(other, _)| *other != ticket);
    }
}

/// The devices of an executor.
#[derive(Debug)]
pub struct DevicePool {
    slots: Mutex<Slots>,
    freed: Condvar,
    changed: Arc<Notify>,
}

impl DevicePool {
    /// Creates a pool of the devices in `spec`: `auto` (all CUDA devices, or the CPU if there are none), `cpu`, a list
    /// such as `cuda:0,cuda:1`, or `fake:N`, which are N names for the CPU, for tests. Up to `workers_per_device` tasks
    /// share a device.
    ///
    /// # Errors
    /// [`Error::Devices`] when the list or the number is invalid.
    pub fn new(spec: &str, workers_per_device: usize) -> Result<Self> {
        Self::on_machine(spec, workers_per_device, usize::try_from(tch::Cuda::device_count()).unwrap_or(0))
    }

    fn on_machine(spec: &str, workers_per_device: usize, cuda: usize) -> Result<Self> {
        if !(1..=MAX).contains(&workers_per_device) {
            let reason = format!("workers per device must be from 1 to {MAX}, got {workers_per_device}");
            return Err(Error::Devices { given: spec.to_owned(), reason });
        }
        let slot = |offered| move |device| Slot { device, offered, busy: Vec::new() };
        let mut slots: Vec<Slot> = parse(spec, cuda)?.into_iter().map(slot(true)).collect();
        if !slots.iter().any(|slot| slot.serves(Wanted::Cpu)) {
            // Tasks may request the CPU by name.
            slots.push(slot(false)(PoolDevice { name: "cpu".to_owned(), torch: tch::Device::Cpu }));
        }
        let slots = Slots { slots, per_device: workers_per_device, waiting: VecDeque::new(), next_ticket: 0 };
        Ok(Self { slots: Mutex::new(slots), freed: Condvar::new(), changed: Arc::default() })
    }

    /// The notifier of changes: a device is acquired or released.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The number of workers that can compute at a time.
    #[must_use]
    pub fn workers(&self) -> usize {
        let slots = self.lock();
        slots.slots.iter().filter(|slot| slot.offered).count() * slots.per_device
    }

    /// The number of tasks that wait for a device.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Reports each device with its current work. A device that several workers may share has one entry per worker.
    #[must_use]
    pub fn report(&self) -> Vec<DeviceReport> {
        let slots = self.lock();
        let places = |slot: &Slot| if slot.offered { slots.per_device } else { slot.busy.len() };
        let report = |slot: &Slot, place: usize| DeviceReport {
            name: slot.device.name.clone(),
            busy: slot.busy.get(place).map(|(_, work)| work.clone()),
        };
        slots.slots.iter().flat_map(|slot| (0..places(slot)).map(move |place| report(slot, place))).collect()
    }

    /// Blocks this thread until a device is free.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when the pool has no such device, [`Error::Cancelled`] when the task is cancelled.
    pub fn acquire(self: &Arc<Self>, wanted: Wanted, work: DeviceWork, cancelled: &AtomicBool) -> Result<DeviceLease> {
        let mut slots = self.lock();
        if !slots.slots.iter().any(|slot| slot.serves(wanted)) {
            let device = match wanted {
                Wanted::Auto => "auto".to_owned(),
                Wanted::Cpu => "cpu".to_owned(),
                Wanted::Cuda(n) => format!("cuda:{n}"),
            };
            return Err(Error::NoDevice { device, reason: "it is not in the executor's --devices" });
        }
        let ticket = slots.enqueue(wanted);
        loop {
            if cancelled.load(Ordering::Relaxed) {
                slots.leave(ticket);
                drop(slots);
                self.freed.notify_all();
                return Err(Error::Cancelled);
            }
            if let Some(at) = slots.turn(ticket) {
                slots.occupy(ticket, at, work);
                let device = slots.slots[at].device.torch;
                drop(slots);
                // Another device may be free for the next waiting task.
                self.freed.notify_all();
                self.changed.notify_one();
                return Ok(DeviceLease { pool: Arc::clone(self), ticket, at, device });
            }
            slots = self.freed.wait_timeout(slots, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the request for exactly this device.
    #[must_use]
    pub fn asking_for(device: tch::Device) -> Wanted {
        match device {
            tch::Device::Cuda(n) => Wanted::Cuda(n),
            tch::Device::Cpu | tch::Device::Mps | tch::Device::Vulkan => Wanted::Cpu,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device that a task holds. It is released when dropped.
#[derive(Debug)]
pub struct DeviceLease {
    pool: Arc<DevicePool>,
    ticket: u64,
    at: usize,
    device: tch::Device,
}

impl DeviceLease {
    /// The device in libtorch.
    #[must_use]
    pub fn device(&self) -> tch::Device {
        self.device
    }

    /// Returns the request for the same device. All CPU devices count as the same.
    pub(crate) fn request(&self) -> Wanted {
        match self.device {
            tch::Device::Cuda(n) => Wanted::Cuda(n),
            _ => Wanted::Cpu,
        }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.pool.lock().slots[self.at].device.name.clone()
    }
}

impl Drop for DeviceLease {
    fn drop(&mut self) {
        self.pool.lock().release(self.ticket, self.at);
        self.pool.freed.notify_all();
        self.pool.changed.notify_one();
    }
}

/// Returns a device that matches a request, for work that does not use the executor's pool.
///
/// # Errors
/// [`Error::NoDevice`] when this machine does not have the device.
pub(crate) fn device(wanted: Wanted) -> Result<tch::Device> {
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    match wanted {
        Wanted::Cpu => Ok(tch::Device::Cpu),
        Wanted::Auto if count > 0 => Ok(tch::Device::Cuda(0)),
        Wanted::Auto => Ok(tch::Device::Cpu),
        Wanted::Cuda(n) if n < count => Ok(tch::Device::Cuda(n)),
        Wanted::Cuda(n) => Err(Error::NoDevice {
            device: format!("cuda:{n}"),
            reason: if count == 0 {
                "this machine or this build of libtorch has no CUDA device"
            } else {
                "the machine has fewer devices"
            },
        }),
    }
}

/// Whether bf16 is faster than f32 on this machine: it has a GPU, or a processor with bf16 dot products.
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let cpu = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let cpu = false;
    cpu || tch::Cuda::is_available()
}

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
