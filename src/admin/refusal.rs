//! What an operator gets instead of an answer.

use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::api::{self, Failure};

/// A status, and one sentence as `{"error": ...}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// What was asked is not understood; `message` says what is known.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn broken(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(&Failure { error: self.message });
        *response.status_mut() = self.status;
        response
    }
}

pub(super) fn json(value: &impl Serialize) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    match serde_json::to_vec(value) {
        Ok(text) => ([(header::CONTENT_TYPE, JSON)], text).into_response(),
        // No value of ours is one that JSON has no words for.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(super) async fn unknown_path(OriginalUri(uri): OriginalUri) -> Refusal {
    let known = [
        "/metrics",
        api::ABOUT,
        api::LIST,
        api::USAGE,
        api::REMOVE,
        api::VERIFY,
        api::COLLECT,
        api::EXPLAIN,
        api::UPSTREAMS,
        api::TOKENS,
        api::CREATE_TOKEN,
        api::REVOKE_TOKEN,
        api::TRACE,
        api::START_TRACE,
        api::STOP_TRACE,
    ];
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("{path} is not known here; known: {}", known.join(", ")),
    )
}

pub(super) async fn unsupported_method(method: Method, OriginalUri(uri): OriginalUri) -> Refusal {
    let right = match uri.path() {
        api::REMOVE
        | api::VERIFY
        | api::COLLECT
        | api::CREATE_TOKEN
        | api::REVOKE_TOKEN
        | api::START_TRACE
        | api::STOP_TRACE => "POST",
        _ => "GET",
    };
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} takes {right}, not {method}", uri.path()),
    )
}
