//! Every path an operator can ask.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};

use super::{Parts, cache};

/// OpenMetrics 1.0, which Prometheus asks for and every other reader of its text format takes.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The listener that is for metrics alone.
pub(super) fn metrics(parts: Parts) -> Router {
    Router::new().route("/metrics", get(text)).with_state(parts)
}

/// The Unix socket.
pub(super) fn operator(parts: Parts) -> Router {
    Router::new()
        .route("/metrics", get(text))
        .route("/api/v1/cache", get(cache::list))
        .route("/api/v1/cache/usage", get(cache::usage))
        .route("/api/v1/cache/remove", post(cache::remove))
        .route("/api/v1/cache/verify", post(cache::verify))
        .route("/api/v1/cache/collect", post(cache::collect))
        .with_state(parts)
}

async fn text(State(parts): State<Parts>) -> Response {
    match parts.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
