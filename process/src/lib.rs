//! What every process of a Tusk cluster needs: flags, logs, certificates, metrics, an end.

pub mod exit;
pub mod flags;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod signal;
pub mod tls;
pub mod version;
