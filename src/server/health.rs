//! Answers about docxy itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};

use super::Shared;

/// Is it for one of the paths that are answered whoever asks and however often? They tell nothing but that a process is
/// there, which an accepted connection has told already; and an orchestrator whose probes were refused would stop a docxy
/// that works.
pub fn is_probe(request: &Parts) -> bool {
    ["/health", "/livez", "/readyz", "/generate_204"].contains(&request.uri.path())
}

/// For people and monitors: JSON with the version.
pub async fn health() -> Response {
    let json = serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
    ([(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}

/// The process answers.
pub async fn live() -> &'static str {
    "ok\n"
}

/// The process takes work: not while it drains. An upstream that is down does not make docxy unready.
pub async fn ready(State(parts): State<Shared>) -> Response {
    if parts.drain.ends_service() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    "ok\n".into_response()
}

/// What captive-portal checks ask for.
pub async fn generate_204() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /`
pub async fn welcome(State(parts): State<Shared>) -> String {
    if parts.config.predecessor.is_some() {
        return format!(
            "docxy {} works here in the place of docker-registry-proxy.\n",
            env!("CARGO_PKG_VERSION")
        );
    }
    format!(
        "docxy {} is a registry proxy.\n\nThe default registry is {}. Every other one is reached by its name in front:\n\n  \
         docker pull THIS-HOST/library/redis\n  docker pull THIS-HOST/ghcr.io/owner/image\n\n\
         `docxy client-config docker|containerd|podman|k3s|buildkit` prints settings for clients.\n",
        env!("CARGO_PKG_VERSION"),
        parts.routes.default_registry().name
    )
}
