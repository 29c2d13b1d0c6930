//! Every path an operator can ask.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, header};

use super::refusal::{Refusal, unknown_path, unsupported_method};
use super::verify::{self, Turn};
use super::{Parts, api, cache, explain, tokens, trace, upstreams};

/// `OpenMetrics` 1.0, which Prometheus asks for and every other reader of its text format takes.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The listener that is for metrics alone.
pub(super) fn metrics(parts: Parts) -> Router {
    Router::new().route("/metrics", get(text)).with_state(parts)
}

/// The Unix socket.
pub(super) fn operator(parts: Parts) -> Router {
    let verifying = Router::new()
        .route(api::VERIFY, post(verify::verify))
        .with_state((parts.clone(), Turn::default()));
    Router::new()
        .route("/metrics", get(text))
        .route(api::ABOUT, get(cache::about))
        .route(api::LIST, get(cache::list))
        .route(api::USAGE, get(cache::usage))
        .route(api::REMOVE, post(cache::remove))
        .route(api::COLLECT, post(cache::collect))
        .route(api::EXPLAIN, get(explain::explain))
        .route(api::UPSTREAMS, get(upstreams::list))
        .route(api::TOKENS, get(tokens::list))
        .route(api::CREATE_TOKEN, post(tokens::create))
        .route(api::REVOKE_TOKEN, post(tokens::revoke))
        .route(api::TRACE, get(trace::standing))
        .route(api::START_TRACE, post(trace::start))
        .route(api::STOP_TRACE, post(trace::stop))
        .with_state(parts)
        .merge(verifying)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unsupported_method)
}

async fn text(State(parts): State<Parts>) -> Result<Response, Refusal> {
    let now = upstreams::measure(&parts);
    let text = parts.metrics.text(now).map_err(Refusal::broken)?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}
