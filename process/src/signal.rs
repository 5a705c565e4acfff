//! Waiting for a shutdown signal.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or ctrl-c.
///
/// # Errors
/// Returns an error if the process cannot listen for signals.
pub async fn terminated() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result,
    }
}
