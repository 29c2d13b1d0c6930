//! What happens around every handler, each layer one function that calls the next, in the order of this file.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use tower::ServiceExt;

use super::error::Problem;
use super::router::{Front, is_api};
use super::{Shared, acme, connect, health, held, proxied, recorded, redirect, token, v2, visit};
use crate::access::limits::{Pass, Who};
use crate::listen::Connection;
use crate::oci::Code;
use crate::pull::{Blame, Outcome};
use crate::telemetry::har::Trace;
use crate::telemetry::{AccessLog, Record, RequestId, traces};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its id and its one line in the log.
pub async fn log<B>(front: &Front, request: http::Request<B>) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let parts = &front.parts;
    let (head, body) = request.into_parts();
    let id = RequestId::random();
    let (method, log) = (head.method.clone(), parts.config.access_log.clone());
    let span = parts.traces.begin(&head.headers, || {
        let connection = head.extensions.get::<Connection>();
        connection.is_some_and(|connection| visit::is_trusted(connection, &parts.config.trusted_proxies))
    });
    let here = span.here();
    let record = match log {
        AccessLog::Nobody => Record::of_nobody(),
        log => Record::new(id, method.clone(), log, parts.metrics.clone(), span),
    };
    let is_api = head.uri.path().starts_with("/v2");
    let version = head.version;
    let trace = parts.tracer.current();
    let mut response = if trace.is_none() && here.is_none() {
        catch_panics(front, head, body, &record).await
    } else {
        let answer = watched(trace.as_ref(), front, head, body, &record);
        Box::pin(traces::at(here, answer)).await
    };
    let headers = response.headers_mut();
    add_security(headers, is_api);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    let response = sized(response, &method);
    let status = response.status();
    if trace.is_some() {
        record.exchange(|exchange| exchange.answered(status, version, response.headers()));
    }
    response.map(|body| record.answered(status, body))
}

/// While somebody records requests, or traces this one.
async fn watched<B>(
    trace: Option<&Arc<Trace>>,
    front: &Front,
    head: Parts,
    body: B,
    record: &Record,
) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match trace {
        None => catch_panics(front, head, body, record).await,
        Some(trace) => recorded::answer(trace, front, head, body, record).await,
    }
}

/// Nothing docxy serves is a page: no sniffing, no script (threat S11).
fn add_security(headers: &mut HeaderMap, is_api: bool) {
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
}

/// HEAD gets no body, but is told how long it would be. To GET hyper tells it.
fn sized(mut response: Response, method: &Method) -> Response {
    if method != Method::HEAD {
        return response;
    }
    if let Some(length) = response.body().size_hint().exact() {
        let headers = response.headers_mut();
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
    response
}

/// A panic in a handler is a 500 for its request, and a line in the log.
pub(super) async fn catch_panics<B>(front: &Front, head: Parts, body: B, record: &Record) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if let Ok(response) = AssertUnwindSafe(identify_visit(front, head, body, record))
        .catch_unwind()
        .await
    {
        return response;
    }
    record.note(|facts| facts.outcome = Some(Outcome::Failed(Blame::Local).as_str()));
    tracing::error!("a request handler panicked; its request was answered 500");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unknown,
        "docxy has a fault of its own here; its log tells more",
    )
    .into_response()
}

/// Finds out who asks under which host; refuses clients from the wrong addresses, a request whose Host is none, those
/// that are to come over HTTPS before anything is answered in plain text, and docxy's own that came back to it.
async fn identify_visit<B>(front: &Front, mut head: Parts, body: B, record: &Record) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let config = &front.parts.config;
    if let Some(answer) = acme::answer(&front.parts, &head) {
        return answer;
    }
    let Some(connection) = head.extensions.get::<Connection>() else {
        return Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "a request without a connection; this is a fault in docxy",
        )
        .into_response();
    };
    // Inside a tunnel only the client itself speaks, and it is who asked for the tunnel.
    let (trusted, client) = if let Some(tunnel) = proxied::tunnel(&head) {
        (&[][..], Ok(tunnel.client))
    } else {
        let trusted = &*config.trusted_proxies;
        (trusted, visit::client(&head.headers, connection, trusted))
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return misplaced(&error, record),
    };
    record.note(|facts| facts.client = Some(client));
    if let Some(refused) = refuse_address(&front.parts, &head, client, record) {
        return refused;
    }
    let mut visit = match visit::visit(&head, connection, trusted, client) {
        Ok(visit) => visit,
        Err(error) => return misplaced(&error, record),
    };
    if let Some(refused) = refuse_loops(&config.via, &head.headers) {
        return refused;
    }
    if head.method == Method::CONNECT {
        return Box::pin(connect::handle(&front.parts, &head, &visit, record)).await;
    }
    let place = proxied::place(&front.parts, &head, &visit);
    if let Some(intercept) = &front.parts.intercept
        && !matches!(place, Ok(None))
        && proxied::tunnel(&head).is_none()
    {
        match Box::pin(connect::account(&front.parts, intercept, &head.headers, &visit)).await {
            Ok(Some(account)) => drop(head.extensions.insert(account)),
            Ok(None) => {}
            Err(problem) => return denied(problem, record),
        }
    }
    visit.proxied = match place {
        Ok(place) => place,
        Err(problem) => return denied(problem, record),
    };
    let token_service = visit
        .proxied
        .as_ref()
        .and_then(|place| proxied::token_service(&front.parts, &head, place));
    if visit.proxied.is_none()
        && let Some(elsewhere) = redirect::to_https(config, &head, &visit)
    {
        return elsewhere;
    }
    if token_service.is_none() && is_api(head.uri.path()) {
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let body = (!reads).then(|| Body::new(body));
        return v2::handle(&front.parts, &head, body, &visit, record).await;
    }
    let pass = if health::is_probe(&head) {
        Pass::default()
    } else {
        match front.parts.enter(Who::at(visit.client)) {
            Ok(pass) => pass,
            Err(problem) => return denied(problem, record),
        }
    };
    head.extensions.insert(record.clone());
    let is_proxied = visit.proxied.is_some();
    head.extensions.insert(visit);
    let request = Request::from_parts(head, Body::new(body));
    if let Some(registry) = token_service {
        let answer = token::of(&front.parts, registry, request);
        return held::hold(Box::pin(answer).await, pass);
    }
    if is_proxied {
        // In a registry's place docxy has nothing else of its own.
        return held::hold(nothing_at(request.uri().path()), pass);
    }
    match Box::pin(front.others.clone().oneshot(request)).await {
        Ok(response) => held::hold(response, pass),
        Err(never) => match never {},
    }
}

/// By the lists of addresses, before anything else is looked at: not even a bad request, or one that is to come over
/// HTTPS, tells such a client anything.
fn refuse_address(parts: &Shared, head: &Parts, client: IpAddr, record: &Record) -> Option<Response> {
    if !parts.addresses.is_on() || health::is_probe(head) {
        return None;
    }
    let problem = parts.admit(client).err()?;
    Some(denied(problem, record))
}

/// Nobody can tell where it came from, or for whom.
fn misplaced(error: &visit::VisitError, record: &Record) -> Response {
    let problem = Problem::new(StatusCode::BAD_REQUEST, Code::Unsupported, error.to_string());
    record.note(|facts| facts.error = Some(problem.for_log().to_owned()));
    problem.into_response()
}

fn denied(problem: Problem, record: &Record) -> Response {
    record.note(|facts| {
        facts.outcome = Some(Outcome::Denied.as_str());
        facts.error = Some(problem.for_log().to_owned());
    });
    problem.into_response()
}

/// A redirect of a registry, or its `urls`, can lead back to docxy; asking once more would never end.
fn refuse_loops(own: &HeaderValue, headers: &HeaderMap) -> Option<Response> {
    let own = own.as_bytes();
    let mut lines = headers.get_all(header::VIA).iter();
    // Proxies on the way append theirs to the line.
    if !lines.any(|line| line.as_bytes().windows(own.len()).any(|part| part == own)) {
        return None;
    }
    tracing::warn!(
        "a registry led docxy back to itself; look for its redirects, or for docxy's own address in urls"
    );
    let problem = Problem::new(
        StatusCode::LOOP_DETECTED,
        Code::Unavailable,
        "this request of docxy's came back to docxy: a registry's redirect or its urls lead here",
    );
    Some(problem.into_response())
}

/// `/v1` of old clients, and everything else that docxy does not have.
pub async fn unknown_path(request: Request) -> Response {
    if request.method() == Method::CONNECT {
        return no_tunnel();
    }
    nothing_at(request.uri().path())
}

/// No path of docxy's.
pub fn nothing_at(path: &str) -> Response {
    let message = if path.starts_with("/v1") {
        "version 1 of the registry protocol is not spoken here; use a client that speaks /v2/"
    } else {
        "nothing is here; the registry API is at /v2/"
    };
    Problem::new(StatusCode::NOT_FOUND, Code::Unsupported, message).into_response()
}

/// A known path, but not for this method.
pub async fn unsupported_method() -> Response {
    no_such_method()
}

/// CONNECT, whatever its target.
pub fn no_tunnel() -> Response {
    let mut response = no_such_method();
    let methods = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

fn no_such_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::Unsupported,
        "this method is not supported here",
    )
    .into_response()
}
