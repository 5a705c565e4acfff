//! Which device a task computes on: a task holds one for as long as it computes, and none is held twice unless the
//! operator says so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tusk_core::options::Device as Wanted;
use tusk_core::protocol::{DeviceReport, DeviceWork};

use crate::error::{Error, Result};

/// The most devices that `fake:N` makes, and the most workers that share one.
const MAX: usize = 64;

/// How often a waiting thread looks whether its task was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A device and the name that operators know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PoolDevice {
    name: String,
    torch: tch::Device,
}

/// What `--devices` means on a machine with this many CUDA devices.
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

/// One device with those that compute on it, by ticket.
#[derive(Debug)]
struct Slot {
    device: PoolDevice,
    /// Whether tasks that leave the choice may take it.
    offered: bool,
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

/// Who waits and who computes: no threads, no clocks.
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

    /// The device for a ticket, if it is its turn: who came earlier and can be served is served earlier, and the device
    /// with the fewest tasks comes first.
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
    /// The devices that `spec` names: `auto` (every CUDA device, or the CPU), `cpu`, `cuda:0,cuda:1`, or `fake:N`,
    /// which is N names for the CPU, for tests. `workers_per_device` tasks share one.
    ///
    /// # Errors
    /// [`Error::Devices`].
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
            // For those who ask for the CPU by name.
            slots.push(slot(false)(PoolDevice { name: "cpu".to_owned(), torch: tch::Device::Cpu }));
        }
        let slots = Slots { slots, per_device: workers_per_device, waiting: VecDeque::new(), next_ticket: 0 };
        Ok(Self { slots: Mutex::new(slots), freed: Condvar::new(), changed: Arc::default() })
    }

    /// Told when a device is taken or given back.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Workers that can compute at a time.
    #[must_use]
    pub fn workers(&self) -> usize {
        let slots = self.lock();
        slots.slots.iter().filter(|slot| slot.offered).count() * slots.per_device
    }

    /// Tasks that wait for a device.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Each device as often as workers may share it, with what it works on.
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

    /// Waits on this thread until a device is free.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there is none of the wanted kind, [`Error::Cancelled`].
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
                // Another device may be free for who waits behind.
                self.freed.notify_all();
                self.changed.notify_one();
                return Ok(DeviceLease { pool: Arc::clone(self), ticket, at, device });
            }
            slots = self.freed.wait_timeout(slots, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What asks for this device and for no other.
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

/// A device that a task holds. Given back when dropped.
#[derive(Debug)]
pub struct DeviceLease {
    pool: Arc<DevicePool>,
    ticket: u64,
    at: usize,
    device: tch::Device,
}

impl DeviceLease {
    /// The device as libtorch knows it.
    #[must_use]
    pub fn device(&self) -> tch::Device {
        self.device
    }

    /// What asks for this very device again; any processor is the same one.
    pub(crate) fn again(&self) -> Wanted {
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

/// The device that a spec asks for, for work that takes none from the executor's pool.
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

/// Whether bf16 is faster than f32 here: a GPU, or a processor with bf16 dot products.
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
