//! Why the process of an executor ends.

use std::net::SocketAddr;

use ballista_core::error::BallistaError;
use tusk_process::logs;

/// Why an executor cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Something of Tusk's own.
    #[error(transparent)]
    Executor(#[from] crate::Error),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tusk_process::tls::TlsError),
    /// Logs.
    #[error(transparent)]
    Log(#[from] logs::LogError),
    /// A flag that Ballista refuses.
    #[error("{source}")]
    Ballista {
        /// Its words.
        source: Box<BallistaError>,
    },
    /// A port that cannot be had.
    #[error(
        "cannot bind {address}: {source}; choose another --bind-host, --bind-port, --bind-grpc-port or \
         --bind-health-port"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// A host that is no address.
    #[error("--bind-host {host} is not an IP address: {source}")]
    BindHost {
        /// As given.
        host: String,
        /// What is wrong.
        source: std::net::AddrParseError,
    },
    /// The scheduler's address.
    #[error("invalid scheduler address: {reason}; set --scheduler-host and --scheduler-port")]
    SchedulerAddress {
        /// Why not.
        reason: String,
    },
    /// No scheduler.
    #[error(
        "cannot register with the scheduler at {address} within {seconds} seconds: {reason}; start it, or set \
         --scheduler-host and --scheduler-port"
    )]
    Scheduler {
        /// Where it should be.
        address: String,
        /// How long was tried.
        seconds: u16,
        /// What happened last.
        reason: String,
    },
    /// The system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
}
