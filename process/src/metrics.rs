//! The figures of a process in Prometheus' text format.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};

/// Everything in the default registry as text.
///
/// # Errors
/// When a figure has a name or a label that the format does not know.
pub fn text() -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&prometheus::gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The route `/metrics`; `refresh` sets the gauges that nothing else sets in time.
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
    fn a_registered_counter_is_in_the_text() {
        let counter = prometheus::register_int_counter!("tusk_test_total", "A test.").unwrap();
        counter.inc_by(3);
        assert!(super::text().unwrap().contains("tusk_test_total 3"));
    }
}
