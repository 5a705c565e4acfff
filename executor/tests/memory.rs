//! What training takes and frees, step after step, is not given back to the kernel in between.
#![cfg(all(feature = "jemalloc", target_os = "linux"))]

use tch::{Device, Kind, Tensor};
// Links the allocator.
use tusk_executor as _;

/// Pages that this process had to be given so far, of 4 KiB.
fn page_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Field 10, counted from behind the name in parentheses, which is the second.
    stat.rsplit(')').next()?.split_whitespace().nth(7)?.parse().ok()
}

#[test]
fn a_freed_tensor_leaves_its_pages_to_the_next_one() {
    const VALUES: i64 = 16 << 20;
    const PAGES: u64 = VALUES as u64 * 4 / 4096;
    let fill = || Tensor::ones([VALUES], (Kind::Float, Device::Cpu));
    drop(fill());
    let before = page_faults().expect("/proc is mounted");
    (0..20).for_each(|_| drop(fill()));
    let faults = page_faults().expect("/proc is mounted") - before;
    assert!(faults < 2 * PAGES, "{faults} page faults for 20 tensors of {PAGES} pages each");
}
