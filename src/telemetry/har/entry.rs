//! The shape of an entry (HAR 1.2, "HTTP Archive format"): what its viewers need, and beside it what docxy knows, under
//! names that begin with an underscore as that format has it.

use std::net::IpAddr;
use std::time::Duration;

use http::{StatusCode, Version};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub started_date_time: String,
    /// Milliseconds, as all times here.
    pub time: f64,
    pub request: Request,
    pub response: Response,
    pub cache: Nothing,
    pub timings: Timings,
    #[serde(rename = "_side")]
    pub side: Side,
    #[serde(rename = "_requestId", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(rename = "_client", skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    #[serde(rename = "_registry", skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    #[serde(rename = "_repository", skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(rename = "_outcome", skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    #[serde(rename = "_ended")]
    pub ended: &'static str,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// A client's, and docxy's answer.
    Client,
    /// docxy's own, and what it was told.
    Upstream,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub method: String,
    pub url: String,
    pub http_version: &'static str,
    /// Always empty: cookies are secrets.
    pub cookies: [(); 0],
    pub headers: Vec<Pair>,
    pub query_string: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_data: Option<PostData>,
    pub headers_size: i64,
    pub body_size: i64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    /// 0 where there was none.
    pub status: u16,
    pub status_text: &'static str,
    pub http_version: &'static str,
    pub cookies: [(); 0],
    pub headers: Vec<Pair>,
    pub content: Content,
    #[serde(rename = "redirectURL")]
    pub redirect_url: String,
    pub headers_size: i64,
    pub body_size: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostData {
    pub mime_type: String,
    pub params: Vec<Pair>,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub size: u64,
    pub mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<&'static str>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Pair {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Timings {
    pub send: f64,
    pub wait: f64,
    pub receive: f64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Nothing {}

impl Timings {
    /// `first`: when the answer's head was there.
    pub fn of(first: Option<Duration>, whole: Duration) -> Self {
        let wait = first.unwrap_or(whole);
        Self {
            send: 0.0,
            wait: milliseconds(wait),
            receive: milliseconds(whole.saturating_sub(wait)),
        }
    }

    pub fn whole(&self) -> f64 {
        self.send + self.wait + self.receive
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

pub(super) fn status_text(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
