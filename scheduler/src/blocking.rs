//! Work that takes long and does not wait, on a thread of its own: the threads of the runtime stay free.

use datafusion::error::DataFusionError;

use crate::error::Result;

/// Runs `work` on a thread for blocking work.
///
/// # Errors
/// Returns an error if the work panics.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| DataFusionError::External(Box::new(error)))?)
}
