//! The errors that end the process of an executor.

use std::net::SocketAddr;

use ballista_core::error::BallistaError;
use tusk_process::logs;

/// The errors of [`run`](crate::run).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// An error of this crate.
    #[error(transparent)]
    Executor(#[from] crate::Error),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tusk_process::tls::TlsError),
    /// The log cannot be started.
    #[error(transparent)]
    Log(#[from] logs::LogError),
    /// Ballista refuses a flag.
    #[error("{source}")]
    Ballista {
        /// The error of Ballista.
        source: Box<BallistaError>,
    },
    /// A port cannot be bound.
    #[error(
        "cannot bind {address}: {source}; choose another --bind-host, --bind-port, --bind-grpc-port or \
         --bind-health-port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The host to bind is not an IP address.
    #[error("--bind-host {host} is not an IP address: {source}")]
    BindHost {
        /// The host as given.
        host: String,
        /// Why it is invalid.
        source: std::net::AddrParseError,
    },
    /// The scheduler's address is invalid or cannot be resolved.
    #[error("invalid scheduler address: {reason}; set --scheduler-host and --scheduler-port")]
    SchedulerAddress {
        /// The reason.
        reason: String,
    },
    /// The executor could not register with the scheduler in time.
    #[error(
        "cannot register with the scheduler at {address} within {seconds} seconds: {reason}; start it, or set \
         --scheduler-host and --scheduler-port"
    )]
    Scheduler {
        /// The scheduler's address.
        address: String,
        /// The time limit in seconds.
        seconds: u16,
        /// The last failure.
        reason: String,
    },
    /// An operation of the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The error of the operating system.
        source: std::io::Error,
    },
}
