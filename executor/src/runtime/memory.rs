//! Makes jemalloc the malloc of the whole process, including libtorch.
//!
//! A training step allocates and frees hundreds of megabytes in large blocks. glibc returns such blocks to the kernel
//! at once, so that each step causes page faults for all of them, which takes up to half of its time. jemalloc keeps
//! freed memory for ten seconds; then a background thread returns it to the kernel. `MALLOC_CONF` changes these
//! settings.

use tikv_jemalloc_sys as _;
