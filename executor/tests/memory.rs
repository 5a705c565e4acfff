//! Memory that a training step frees is reused by the next step and not returned to the kernel in between.
#![cfg(all(feature = "jemalloc", target_os = "linux"))]

use tch::{Device, Kind, Tensor};
// Needed to link the allocator.
use tusk_executor as _;

/// The number of page faults of this process so far, for pages of 4 KiB.
fn page_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Field 10. Field 2 is the name in parentheses, which may contain spaces, so fields are counted after it.
    stat.rsplit(')').next()?.split_whitespace().nth(7)?.parse().ok()
}

#[test]
fn the_pages_of_a_freed_tensor_are_reused() {
    const VALUES: i64 = 16 << 20;
    const PAGES: u64 = VALUES as u64 * 4 / 4096;
    let fill = || Tensor::ones([VALUES], (Kind::Float, Device::Cpu));
    drop(fill());
    let before = page_faults().expect("/proc is mounted");
    (0..20).for_each(|_| drop(fill()));
    let faults = page_faults().expect("/proc is mounted") - before;
    assert!(faults < 2 * PAGES, "{faults} page faults for 20 tensors of {PAGES} pages each");
}
