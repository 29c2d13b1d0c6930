//! What happens around every handler, each layer one function.

use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::error::Problem;
use super::{Shared, visit};
use crate::listen::Connection;
use crate::oci::Code;
use crate::pull::{Blame, Outcome};
use crate::telemetry::Record;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its id and its one line in the log.
pub async fn log(State(parts): State<Shared>, mut request: Request, next: Next) -> Response {
    let id = format!("{:016x}", rand::random::<u64>());
    let (method, enabled) = (request.method().clone(), parts.config.access_log);
    let record = Record::new(id.clone(), method, enabled, parts.metrics.clone());
    request.extensions_mut().insert(record.clone());
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let status = response.status();
    response.map(|body| record.answered(status, body))
}

/// A panic in a handler is a 500 for its request, and a line in the log.
pub async fn catch_panics(request: Request, next: Next) -> Response {
    let record = request.extensions().get::<Record>().cloned();
    if let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await {
        return response;
    }
    if let Some(record) = record {
        record.note(|facts| facts.outcome = Some(Outcome::Failed(Blame::Local).as_str()));
    }
    tracing::error!("a request handler panicked; its request was answered 500");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unknown,
        "docxy has a fault of its own here; its log tells more",
    )
    .into_response()
}

/// Nothing docxy serves is a page: no sniffing, no script (threat S11).
pub async fn security_headers(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/v2");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if is_api {
        headers.insert(
            HeaderName::from_static("docker-distribution-api-version"),
            HeaderValue::from_static("registry/2.0"),
        );
    }
    response
}

/// Adds the [`crate::route::Visit`], or refuses a request whose Host is none.
pub async fn identify_visit(State(parts): State<Shared>, mut request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<Connection>().copied() else {
        return Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "a request without a connection; this is a fault in docxy",
        )
        .into_response();
    };
    match visit::visit(&request, &connection, &parts.config.trusted_proxies) {
        Ok(visit) => {
            if let Some(record) = request.extensions().get::<Record>() {
                record.note(|facts| facts.client = Some(visit.client));
            }
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Err(error) => {
            Problem::new(StatusCode::BAD_REQUEST, Code::Unsupported, error.to_string()).into_response()
        }
    }
}

/// A redirect of a registry, or its `urls`, can lead back to docxy; asking once more would never end.
pub async fn refuse_loops(State(parts): State<Shared>, request: Request, next: Next) -> Response {
    let own = parts.config.via.as_bytes();
    let lines = request.headers().get_all(header::VIA);
    // Proxies on the way append theirs to the line.
    if !lines
        .iter()
        .any(|line| line.as_bytes().windows(own.len()).any(|part| part == own))
    {
        return next.run(request).await;
    }
    tracing::warn!(
        "a registry led docxy back to itself; look for its redirects, or for docxy's own address in urls"
    );
    Problem::new(
        StatusCode::LOOP_DETECTED,
        Code::Unavailable,
        "this request of docxy's came back to docxy: a registry's redirect or its urls lead here",
    )
    .into_response()
}

/// `/v1` of old clients, and everything else that docxy does not have.
pub async fn unknown_path(request: Request) -> Response {
    if request.method() == http::Method::CONNECT {
        return unsupported_method().await;
    }
    let message = if request.uri().path().starts_with("/v1") {
        "version 1 of the registry protocol is not spoken here; use a client that speaks /v2/"
    } else {
        "nothing is here; the registry API is at /v2/"
    };
    Problem::new(StatusCode::NOT_FOUND, Code::Unsupported, message).into_response()
}

/// A known path, but not for this method.
pub async fn unsupported_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::Unsupported,
        "this method is not supported here",
    )
    .into_response()
}
