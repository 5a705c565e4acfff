//! HTTP routes for liveness and readiness checks.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

/// Returns the routes `/healthz`, which responds with 200 while the process runs, and `/readyz`, which responds with
/// 503 and the message if `ready` returns an error.
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
