//! Caches an executor's shards in memory up to a limit, then on local disk up to another limit.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Shard;
use crate::error::{Error, Result};

/// The limits of the shard cache.
#[derive(Clone, Debug)]
pub struct CacheLimits {
    /// The largest number of bytes of decoded pixels in memory.
    pub memory_bytes_max: u64,
    /// The largest number of bytes of decoded pixels on disk.
    pub disk_bytes_max: u64,
    /// The folder for pixels on disk.
    pub folder: PathBuf,
}

impl Default for CacheLimits {
    /// 1 GiB in memory and 64 GiB in the system's temporary folder. Environment variables are not read; use
    /// [`Self::from_env`] for that.
    fn default() -> Self {
        Self { memory_bytes_max: 1 << 30, disk_bytes_max: 64 << 30, folder: std::env::temp_dir() }
    }
}

impl CacheLimits {
    /// Reads the limits from `TUSK_CACHE_MEMORY_BYTES`, `TUSK_CACHE_DISK_BYTES` and `TUSK_CACHE_DIR`. A variable that
    /// is empty or not set gives the default.
    ///
    /// # Errors
    /// [`Error::Variable`] when a variable does not hold a number of bytes.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let bytes = |variable: &'static str, default: u64| {
            let Some(value) = given(variable) else { return Ok(default) };
            let bytes = value.to_str().and_then(|text| text.trim().parse().ok());
            let value = value.display().to_string();
            bytes.ok_or(Error::Variable { variable, value, example: default })
        };
        let defaults = Self::default();
        Ok(Self {
            memory_bytes_max: bytes("TUSK_CACHE_MEMORY_BYTES", defaults.memory_bytes_max)?,
            disk_bytes_max: bytes("TUSK_CACHE_DISK_BYTES", defaults.disk_bytes_max)?,
            folder: given("TUSK_CACHE_DIR").map_or(defaults.folder, PathBuf::from),
        })
    }
}

/// Identifies a shard by the table, the worker's part of it, and the preprocessing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShardKey(pub(crate) String);

#[derive(Debug, Default)]
struct Slot {
    shard: Arc<OnceCell<Arc<Shard>>>,
    last_used: u64,
}

#[derive(Debug, Default)]
struct Used {
    memory: AtomicU64,
    disk: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Memory,
    Disk,
}

/// Reserved bytes of memory or disk. They are released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    used: Arc<Used>,
    medium: Medium,
    bytes: u64,
}

impl Reservation {
    fn counter(used: &Used, medium: Medium) -> &AtomicU64 {
        match medium {
            Medium::Memory => &used.memory,
            Medium::Disk => &used.disk,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        Self::counter(&self.used, self.medium).fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The shards of an executor.
#[derive(Debug)]
pub(crate) struct ShardCache {
    limits: CacheLimits,
    used: Arc<Used>,
    clock: AtomicU64,
    slots: Mutex<HashMap<ShardKey, Slot>>,
}

impl ShardCache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self { limits, used: Arc::default(), clock: AtomicU64::new(0), slots: Mutex::default() }
    }

    /// The folder for shards on disk.
    pub(crate) fn folder(&self) -> &PathBuf {
        &self.limits.folder
    }

    /// Returns the shard of a key, and whether this call built it. If several tasks request a shard at the same time,
    /// it is built once.
    pub(crate) async fn get_or_build<F>(&self, key: ShardKey, build: F) -> Result<(Arc<Shard>, bool)>
    where
        F: Future<Output = Result<Shard>>,
    {
        let cell = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = slots.entry(key).or_default();
            slot.last_used = self.clock.fetch_add(1, Ordering::Relaxed);
            Arc::clone(&slot.shard)
        };
        let mut built = false;
        let shard = cell
            .get_or_try_init(|| async {
                built = true;
                build.await.map(Arc::new)
            })
            .await?;
        Ok((Arc::clone(shard), built))
    }

    /// Returns the keys of the complete shards, the most recently used first, and the bytes used in memory and on disk.
    pub(crate) fn contents(&self) -> (Vec<String>, u64, u64) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready: Vec<_> = slots.iter().filter(|(_, slot)| slot.shard.initialized()).collect();
        ready.sort_by_key(|(_, slot)| std::cmp::Reverse(slot.last_used));
        let keys = ready.into_iter().map(|(key, _)| key.0.clone()).collect();
        (keys, self.used.memory.load(Ordering::Relaxed), self.used.disk.load(Ordering::Relaxed))
    }

    /// Reserves memory and evicts unused shards if necessary. Returns `None` if there is not enough memory.
    pub(crate) fn reserve_memory(&self, bytes: u64) -> Option<Reservation> {
        self.reserve(Medium::Memory, bytes, self.limits.memory_bytes_max)
    }

    /// Reserves disk space and evicts unused shards if necessary.
    ///
    /// # Errors
    /// [`Error::CacheFull`] when there is not enough disk space.
    pub(crate) fn reserve_disk(&self, bytes: u64) -> Result<Reservation> {
        let budget = self.limits.disk_bytes_max;
        self.reserve(Medium::Disk, bytes, budget).ok_or(Error::CacheFull { needed: bytes, budget })
    }

    fn reserve(&self, medium: Medium, bytes: u64, limit: u64) -> Option<Reservation> {
        let counter = Reservation::counter(&self.used, medium);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        // A request that can never fit must not evict any shard.
        fits(0)?;
        while counter.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            if !self.evict_one(medium) {
                return None;
            }
        }
        Some(Reservation { used: Arc::clone(&self.used), medium, bytes })
    }

    /// Evicts the least recently used of the unused shards on a medium. Returns whether there was one.
    fn evict_one(&self, medium: Medium) -> bool {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let frees =
            |shard: &Arc<Shard>| Arc::strong_count(shard) == 1 && shard.is_in_memory() == (medium == Medium::Memory);
        let idle = |slot: &Slot| Arc::strong_count(&slot.shard) == 1 && slot.shard.get().is_some_and(frees);
        let oldest = slots.iter().filter(|(_, slot)| idle(slot)).min_by_key(|(_, slot)| slot.last_used);
        match oldest.map(|(key, _)| key.clone()) {
            Some(key) => slots.remove(&key).is_some(),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(variables: &[(&str, &str)]) -> Result<CacheLimits> {
        CacheLimits::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn limits_are_the_defaults_or_those_of_the_environment() {
        let given = [("TUSK_CACHE_MEMORY_BYTES", "0"), ("TUSK_CACHE_DISK_BYTES", ""), ("TUSK_CACHE_DIR", "/fast")];
        let limits = limits(&given).unwrap();
        assert_eq!((limits.memory_bytes_max, limits.disk_bytes_max), (0, CacheLimits::default().disk_bytes_max));
        assert_eq!(limits.folder, PathBuf::from("/fast"));
    }

    #[test]
    fn an_invalid_number_of_bytes_is_refused_with_the_name_of_its_variable() {
        for bad in ["1 GiB", "-1", "1e9", "18446744073709551616"] {
            let refusal = limits(&[("TUSK_CACHE_MEMORY_BYTES", bad)]).unwrap_err().to_string();
            let expected = format!(
                "the environment variable TUSK_CACHE_MEMORY_BYTES is '{bad}'; it takes a whole number of bytes, such as \
                 1073741824. Correct it or unset it"
            );
            assert_eq!(refusal, expected);
        }
    }
}
