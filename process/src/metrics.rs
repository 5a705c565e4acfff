//! The metrics of a process in the text format of Prometheus.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};

/// Returns the metrics of the default registry as text.
///
/// # Errors
/// Returns an error if the name or a label of a metric is invalid.
pub fn text() -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&prometheus::gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns the route `/metrics`. Each request first calls `refresh`, which updates gauges that are not kept up to date
/// otherwise.
pub fn routes<S: Clone + Send + Sync + 'static>(refresh: impl Fn() + Clone + Send + Sync + 'static) -> Router<S> {
    let scraped = move || {
        refresh();
        async { answer() }
    };
    Router::new().route("/metrics", get(scraped))
}

fn answer() -> Response {
    match text() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_contains_a_registered_counter() {
        let counter = prometheus::register_int_counter!("tusk_test_total", "A test.").unwrap();
        counter.inc_by(3);
        assert!(super::text().unwrap().contains("tusk_test_total 3"));
    }
}
