//! The memory of queries: how much the machine has, and a limit for all queries of a process together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use crate::flags::variable;

/// The flag of the memory of queries.
const MEMORY_FLAG: &str = "memory-limit-bytes";

/// The flag of the disk space of queries.
const SPILL_FLAG: &str = "spill-limit-bytes";

/// The assumed memory of a machine that does not tell it, in bytes.
const UNKNOWN_MACHINE_BYTES: u64 = 8 << 30;

/// The default of the disk space of queries, in bytes.
const SPILL_BYTES_MAX: u64 = 64 << 30;

/// The flags of the memory of queries.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct MemoryFlags {
    /// Memory of all queries of this process together, in bytes. A query that needs more writes rows to disk, or fails.
    /// Default: half of the memory of the machine or container.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub memory_limit_bytes: Option<u64>,
    /// Disk space for the rows of queries that do not fit into their memory, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = SPILL_BYTES_MAX)]
    pub spill_limit_bytes: u64,
}

impl MemoryFlags {
    /// Returns the limits that the flags set.
    #[must_use]
    pub fn limits(&self) -> MemoryLimits {
        let memory_bytes_max = self.memory_limit_bytes.unwrap_or_else(half_of_the_machine);
        MemoryLimits { memory_bytes_max, spill_bytes_max: self.spill_limit_bytes }
    }
}

/// The memory and the disk space of all queries of a process together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Memory, in bytes.
    pub memory_bytes_max: u64,
    /// Disk space, in bytes.
    pub spill_bytes_max: u64,
}

impl Default for MemoryLimits {
    /// Half of the memory of the machine or container, and 64 GiB of disk.
    fn default() -> Self {
        Self { memory_bytes_max: half_of_the_machine(), spill_bytes_max: SPILL_BYTES_MAX }
    }
}

/// An environment variable does not contain a limit.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {variable} is '{value}'; it takes a number of bytes from 1. Correct it or unset it")]
pub struct InvalidLimit {
    variable: String,
    value: String,
}

impl MemoryLimits {
    /// The defaults, overridden by `TUSK_MEMORY_LIMIT_BYTES` and `TUSK_SPILL_LIMIT_BYTES`. An empty variable counts as
    /// unset.
    ///
    /// # Errors
    /// Returns an error if a variable is not a number from 1.
    pub fn from_env() -> Result<Self, InvalidLimit> {
        Self::of_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn of_variables(find: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidLimit> {
        let read = |flag: &str, default: u64| {
            let variable = variable(flag);
            match find(&variable).filter(|value| !value.is_empty()) {
                None => Ok(default),
                Some(value) => match value.trim().parse::<u64>() {
                    Ok(bytes) if bytes > 0 => Ok(bytes),
                    _ => Err(InvalidLimit { variable, value }),
                },
            }
        };
        let defaults = Self::default();
        Ok(Self {
            memory_bytes_max: read(MEMORY_FLAG, defaults.memory_bytes_max)?,
            spill_bytes_max: read(SPILL_FLAG, defaults.spill_bytes_max)?,
        })
    }

    /// Limits the queries of a runtime. `process` is the name of this process in errors. All sessions of a process must
    /// share the runtime, or each has the limits for itself.
    #[must_use]
    pub fn apply(&self, runtime: RuntimeEnvBuilder, process: &'static str) -> RuntimeEnvBuilder {
        let bytes_max = usize::try_from(self.memory_bytes_max).unwrap_or(usize::MAX);
        runtime
            .with_memory_pool(Arc::new(LimitedPool { inner: FairSpillPool::new(bytes_max), bytes_max, process }))
            .with_max_temp_directory_size(self.spill_bytes_max)
    }
}

/// A pool that divides its memory fairly among the operators that can write rows to disk, and whose errors name the
/// limit and its flag.
#[derive(Debug)]
struct LimitedPool {
    inner: FairSpillPool,
    bytes_max: usize,
    process: &'static str,
}

impl fmt::Display for LimitedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl MemoryPool for LimitedPool {
    fn name(&self) -> &'static str {
        "limited"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        // Operators recognise this variant, and write rows to disk.
        self.inner.try_grow(reservation, additional).map_err(|_| {
            DataFusionError::ResourcesExhausted(format!(
                "not enough memory: {} holds {} and needs {} more; the limit of all queries of {} together is {}. Raise \
                 --{MEMORY_FLAG} ({}), or read fewer rows or columns at once",
                reservation.consumer().name(),
                human_readable_size(reservation.size()),
                human_readable_size(additional),
                self.process,
                human_readable_size(self.bytes_max),
                variable(MEMORY_FLAG),
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

fn half_of_the_machine() -> u64 {
    (machine_bytes().unwrap_or(UNKNOWN_MACHINE_BYTES) / 2).max(1)
}

/// Returns the memory of this machine, or that of its container if it is less, in bytes. `None` if the system does not
/// tell it.
fn machine_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let container = std::fs::read_to_string("/proc/self/cgroup").ok();
    let container = container.and_then(|groups| limit_of(Path::new("/sys/fs/cgroup"), &groups));
    machine.into_iter().chain(container).min()
}

/// Returns the line `MemTotal` of `/proc/meminfo`, which is in KiB, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the least limit of the control groups of this process and of the groups around them, in bytes. `groups` is
/// `/proc/self/cgroup`: lines such as `0::/a/b` (version 2) and `4:memory:/a/b` (version 1).
fn limit_of(root: &Path, groups: &str) -> Option<u64> {
    let files = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        let group = Path::new(group.trim_start_matches('/'));
        match controllers {
            "" => Some((root.join(group), root.to_owned(), "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                let root = root.join("memory");
                Some((root.join(group), root, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    files.flat_map(|(group, root, file)| limits(&group, &root, file)).min()
}

/// Returns the limits of a group and of those around it. Without a limit, version 2 says `max`.
fn limits(group: &Path, root: &Path, file: &str) -> Vec<u64> {
    let around = group.ancestors().take_while(|folder| folder.starts_with(root)).map(PathBuf::from);
    around.filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_container_is_its_least_limit() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, file: &str, text: &str| {
            let folder = root.path().join(group);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), text).unwrap();
        };
        write("a", "memory.max", "3000\n");
        write("a/b", "memory.max", "max\n");
        assert_eq!(limit_of(root.path(), "0::/a/b\n"), Some(3000));
        assert_eq!(limit_of(root.path(), "0::/c\n"), None);
        write("memory/d", "memory.limit_in_bytes", "2000\n");
        assert_eq!(limit_of(root.path(), "3:cpu:/a\n4:hugetlb,memory:/d\n0::/a\n"), Some(2000));
        assert_eq!(total_of("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(MemoryLimits::default().memory_bytes_max > 0);
    }

    #[test]
    fn the_environment_sets_the_limits() {
        let with = |name: &'static str, value: &'static str| {
            MemoryLimits::of_variables(move |wanted| (wanted == name).then(|| value.to_owned()))
        };
        assert_eq!(with("TUSK_MEMORY_LIMIT_BYTES", "4096").unwrap().memory_bytes_max, 4096);
        assert_eq!(with("TUSK_SPILL_LIMIT_BYTES", "7").unwrap().spill_bytes_max, 7);
        assert_eq!(with("TUSK_MEMORY_LIMIT_BYTES", "").unwrap(), MemoryLimits::default());
        let refusal = with("TUSK_MEMORY_LIMIT_BYTES", "2G").unwrap_err().to_string();
        assert!(refusal.starts_with("the environment variable TUSK_MEMORY_LIMIT_BYTES is '2G'; it takes"), "{refusal}");
        assert!(with("TUSK_MEMORY_LIMIT_BYTES", "0").is_err());
    }

    #[test]
    fn the_error_names_the_limit_the_flag_and_the_process() {
        let limits = MemoryLimits { memory_bytes_max: 1 << 20, spill_bytes_max: 1 << 20 };
        let runtime = limits.apply(RuntimeEnvBuilder::new(), "tusk-scheduler").build().unwrap();
        let reservation = MemoryConsumer::new("Sort[0]").register(&runtime.memory_pool);
        reservation.try_grow(1 << 19).unwrap();
        let error = reservation.try_grow(1 << 20).unwrap_err();
        assert!(matches!(error, DataFusionError::ResourcesExhausted(_)), "{error:?}");
        let text = error.to_string();
        for part in
            ["Sort[0]", "of tusk-scheduler together is 1024.0 KB", "--memory-limit-bytes", "TUSK_MEMORY_LIMIT_BYTES"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(runtime.disk_manager.max_temp_directory_size(), 1 << 20);
    }
}
