//! Every path an operator can ask. Each comes from its handler's annotation, so the API's description has them all, and no
//! others.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, header};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{self, Failure};
use super::document;
use super::refusal::{Refusal, unknown_path, unsupported_method};
use super::request::NoQuery;
use super::{
    Parts, admins, browse, cache, configuration, explain, handover, health, next, pins, prefetch, session,
    tokens, trace, upstreams, users, verify,
};

/// `OpenMetrics` 1.0, which Prometheus asks for and every other reader of its text format takes.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The listener that is for metrics alone.
pub(super) fn metrics(parts: Parts) -> Router {
    Router::new().route("/metrics", get(text)).with_state(parts)
}

/// The Unix socket, and the API's own listener behind its guard.
pub(super) fn operator(parts: Parts) -> Router {
    let (routes, _) = described();
    routes
        .with_state(parts)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unsupported_method)
}

/// The API's description: `OpenAPI` 3.1.
pub fn description() -> OpenApi {
    let (_, description) = described();
    description
}

fn described() -> (Router<Parts>, OpenApi) {
    let api = OpenApiRouter::new()
        .routes(routes!(document::openapi))
        .routes(routes!(health::live))
        .routes(routes!(health::health))
        .routes(routes!(cache::about))
        .routes(routes!(configuration::show))
        .routes(routes!(configuration::reload))
        .routes(routes!(handover::begin))
        .routes(routes!(figures))
        // Who is asking
        .routes(routes!(session::current, session::begin, session::end))
        .routes(routes!(admins::list, admins::create))
        .routes(routes!(admins::revoke))
        // Who may pull
        .routes(routes!(users::list))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(explain::explain))
        // What is stored
        .routes(routes!(cache::usage))
        .routes(routes!(browse::registries))
        .routes(routes!(browse::repositories))
        .routes(routes!(browse::tags))
        .routes(routes!(browse::blobs))
        .routes(routes!(browse::blob, browse::remove_blob))
        .routes(routes!(cache::remove))
        .routes(routes!(cache::collect))
        .routes(routes!(verify::verify))
        .routes(routes!(next::next))
        .routes(routes!(pins::list, pins::create))
        .routes(routes!(pins::remove))
        .routes(routes!(prefetch::prefetch))
        // How pulls go
        .routes(routes!(upstreams::list))
        .routes(routes!(trace::standing, trace::start, trace::stop));
    let all = OpenApiRouter::with_openapi(document::beginning())
        .routes(routes!(text))
        .nest(api::PREFIX, api);
    let (routes, mut description) = all.split_for_parts();
    document::complete(&mut description);
    (routes, description)
}

/// All metrics
///
/// For Prometheus, as at `metrics_listen`.
#[utoipa::path(get, path = "/metrics", tag = "docxy",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn text(State(parts): State<Parts>) -> Result<Response, Refusal> {
    let now = upstreams::measure(&parts).await;
    let text = parts.metrics.text(now).map_err(Refusal::broken)?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}

/// All metrics
///
/// The same as `/metrics`.
#[utoipa::path(get, path = "/metrics", tag = "docxy", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), (status = 500, body = Failure)))]
async fn figures(parts: State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    text(parts).await
}
