//! Whether a process lives and whether it is ready for work.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

/// The routes `/healthz`, which answers while the process lives, and `/readyz`, which asks `ready`: `Err` says what is
/// missing.
pub fn routes<S, R>(ready: R) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    R: Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
{
    let readyz = move || {
        let answer = match ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
        };
        std::future::ready(answer)
    };
    Router::new().route("/healthz", get(|| std::future::ready("ok\n"))).route("/readyz", get(readyz))
}
