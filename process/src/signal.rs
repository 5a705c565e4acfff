//! The request to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is asked to end: by SIGTERM or, from a terminal, by ctrl-c.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub async fn terminated() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result,
    }
}
