//! jemalloc as the malloc of the whole process, libtorch's included.
//!
//! A training step takes and frees hundreds of megabytes in large blocks. glibc gives those back to the kernel at once, so
//! each step pays for all of its pages anew: up to half of a step's time. jemalloc keeps what was freed for ten seconds,
//! and then a thread of its own gives it back, although nothing else may happen in the process. `MALLOC_CONF` changes that.

use tikv_jemalloc_sys as _;
