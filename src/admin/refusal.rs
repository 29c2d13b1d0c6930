//! What an operator gets instead of an answer.

use std::time::Duration;

use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::Mistake;
use super::api::{Failure, Problem};

/// A status, and `{"error": {"code", "message", "hint"}}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
    mistakes: Vec<Mistake>,
}

impl Refusal {
    /// Programs go by the code: unless another is given by [`Self::coded`], that of the status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code(status),
            message: message.into(),
            hint: None,
            retry_after: None,
            mistakes: Vec::new(),
        }
    }

    /// What was asked is not understood; `message` says what is known.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn broken(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    pub fn coded(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// What to do next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Of a configuration.
    pub fn with_mistakes(self, mistakes: Vec<Mistake>) -> Self {
        Self { mistakes, ..self }
    }

    /// When to come back.
    pub fn after(self, time: Duration) -> Self {
        Self {
            retry_after: Some(time),
            ..self
        }
    }
}

fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "malformed",
        StatusCode::UNAUTHORIZED => "unauthenticated",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PRECONDITION_FAILED => "changed_meanwhile",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::TOO_MANY_REQUESTS => "too_many",
        StatusCode::NOT_IMPLEMENTED => "not_implemented",
        _ => "broken",
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(&Failure {
            error: Problem {
                code: self.code.to_owned(),
                message: self.message,
                hint: self.hint,
                mistakes: self.mistakes,
            },
        });
        *response.status_mut() = self.status;
        if let Some(time) = self.retry_after {
            let seconds = time.as_secs().max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"docxy admin\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, BEARER);
        }
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
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(StatusCode::NOT_FOUND, format!("{path} is not known here"))
        .coded("unknown_path")
        .hint("all paths are in /api/v1/openapi.json")
}

pub(super) async fn unsupported_method(method: Method, OriginalUri(uri): OriginalUri) -> Refusal {
    let method: String = method.as_str().chars().take(20).collect();
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {method}", uri.path()),
    )
    .hint("the header Allow says what it takes, and /api/v1/openapi.json what for")
}
