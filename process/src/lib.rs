//! Code that every process of a Tusk cluster shares: flags, logs, TLS, metrics and shutdown.

pub mod exit;
pub mod flags;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod signal;
pub mod tls;
pub mod version;
