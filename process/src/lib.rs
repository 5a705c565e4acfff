//! Code that every process of a Tusk cluster shares: flags, logs, TLS, metrics, memory, threads, shutdown.

pub mod exit;
pub mod flags;
pub mod health;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod signal;
pub mod threads;
pub mod tls;
pub mod version;
