//! One request and its answer, while they happen. What is kept of them is redacted as it comes, bodies when they are whole.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Version, header, request};
use tokio::time::Instant;
use url::Url;

use super::Trace;
use super::captured::Captured;
use super::entry::{self, Entry, Nothing, Pair, Request, Response, Side, Timings};
use super::filter::Interest;
use super::redact::{self, Seen};
use crate::oci::RegistryName;
use crate::telemetry::access_log::Facts;
use crate::telemetry::timestamp::Timestamps;

/// A request that docxy is about to make.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub registry: &'a RegistryName,
    pub method: &'a Method,
    pub url: &'a Url,
    /// A `Location` named the URL, of another host or of the registry: all but its host is hidden.
    pub redirected: bool,
    pub headers: &'a HeaderMap,
    /// A form.
    pub body: Option<&'a [u8]>,
    /// The URL of the question that it is a part of; a redirect's own names nothing.
    pub question: &'a Url,
}

/// Written when it is finished; one of upstream also when it is dropped.
pub struct Exchange {
    trace: Arc<Trace>,
    side: Side,
    began: Instant,
    started: String,
    seen: Seen,
    /// Taken when it is written.
    request: Option<Request>,
    request_body: Captured,
    head: Option<Head>,
    body: Captured,
    registry: Option<RegistryName>,
    interest: Option<Interest>,
    error: Option<String>,
    ended: &'static str,
}

/// Of the answer.
struct Head {
    status: StatusCode,
    version: Version,
    headers: Vec<Pair>,
    redirect: String,
    after: std::time::Duration,
}

/// What is known when a client's request is over.
#[derive(Debug)]
pub struct Over<'a> {
    pub request_id: &'a str,
    pub facts: &'a Facts,
    /// How the answer's body ended, as the access log says it.
    pub ended: &'static str,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// A client's request, of which nothing is known yet but its head.
    pub fn client(self: &Arc<Self>, head: &request::Parts, secure: bool) -> Box<Exchange> {
        let mut seen = Seen::default();
        let scheme = if secure { "https" } else { "http" };
        let (url, query_string) = redact::with_query(
            &format!("{scheme}://{}{}", host(head), head.uri.path()),
            head.uri.query(),
            &mut seen,
        );
        let request = Request {
            method: head.method.as_str().to_owned(),
            url,
            http_version: entry::version(head.version),
            cookies: [],
            headers: redact::headers(&head.headers, &mut seen),
            query_string,
            post_data: None,
            headers_size: -1,
            body_size: 0,
        };
        let body = Captured::of(&head.headers, super::LONGEST_BODY);
        Box::new(self.begin(Side::Client, request, body, seen))
    }

    /// docxy's own request, if it is one that is wanted.
    pub fn upstream(self: &Arc<Self>, outgoing: &Outgoing<'_>) -> Option<Exchange> {
        let filter = &self.wanted.filter;
        if !filter.takes_upstream(&self.interests, outgoing.registry, &about(outgoing)) {
            return None;
        }
        let mut seen = Seen::default();
        let (url, query_string) = if outgoing.redirected {
            (redact::elsewhere(outgoing.url), Vec::new())
        } else {
            redact::own(outgoing.url, &mut seen)
        };
        let mut headers = redact::headers(outgoing.headers, &mut seen);
        headers.insert(
            0,
            Pair {
                name: "host".to_owned(),
                value: outgoing
                    .url
                    .authority()
                    .rsplit('@')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            },
        );
        let request = Request {
            method: outgoing.method.as_str().to_owned(),
            url,
            // What `upstream` speaks, whatever the registry could.
            http_version: entry::version(Version::HTTP_11),
            cookies: [],
            headers,
            query_string,
            post_data: None,
            headers_size: -1,
            body_size: 0,
        };
        let body = Captured::of(outgoing.headers, super::LONGEST_BODY);
        let mut exchange = self.begin(Side::Upstream, request, body, seen);
        exchange.registry = Some(outgoing.registry.clone());
        exchange.request_body.take(outgoing.body.unwrap_or_default());
        Some(exchange)
    }

    fn begin(self: &Arc<Self>, side: Side, request: Request, request_body: Captured, seen: Seen) -> Exchange {
        Exchange {
            trace: Arc::clone(self),
            side,
            began: Instant::now(),
            started: Timestamps::default().now().to_owned(),
            seen,
            request: Some(request),
            request_body,
            head: None,
            body: Captured::default(),
            registry: None,
            interest: None,
            error: None,
            ended: "left-before-answer",
        }
    }
}

/// For [`super::Filter`]: the path of the question, and the scopes of one for a token.
fn about(outgoing: &Outgoing<'_>) -> String {
    let mut text = outgoing.question.path().to_owned();
    let query = outgoing.question.query().unwrap_or_default().as_bytes();
    for fields in [query, outgoing.body.unwrap_or_default()] {
        for (name, value) in form_urlencoded::parse(fields) {
            if name == "scope" {
                text.push(' ');
                text.push_str(&value);
            }
        }
    }
    text
}

/// As the client names it; what is none is not repeated.
fn host(head: &request::Parts) -> &str {
    let line = || head.headers.get(header::HOST)?.to_str().ok();
    let named = head
        .uri
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(line);
    let is_host = |host: &&str| {
        host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
    };
    named.filter(is_host).unwrap_or("unknown.invalid")
}

impl Exchange {
    /// What the handlers found out: from here on requests upstream are of interest.
    pub(in crate::telemetry) fn learn(&mut self, facts: &Facts) {
        let filter = &self.trace.wanted.filter;
        if filter.client.is_none() || filter.client != facts.client {
            return;
        }
        let Some(registry) = &facts.registry else { return };
        let interest = (registry.clone(), facts.repository.clone());
        if self.interest.as_ref() != Some(&interest) {
            self.trace.interests.begin(interest.clone());
            self.lose_interest();
            self.interest = Some(interest);
        }
    }

    fn lose_interest(&mut self) {
        if let Some(interest) = self.interest.take() {
            self.trace.interests.end(&interest);
        }
    }

    /// Is it worth handing the request's body to [`Self::sent`]?
    pub fn wants_request_body(&self) -> bool {
        self.request_body.is_kept()
    }

    /// A piece of the request's body.
    pub fn sent(&mut self, data: &[u8]) {
        self.request_body.take(data);
    }

    /// The head of the answer.
    pub fn answered(&mut self, status: StatusCode, version: Version, headers: &HeaderMap) {
        let lines = redact::headers(headers, &mut self.seen);
        let redirect = lines.iter().find(|line| line.name == header::LOCATION.as_str());
        self.head = Some(Head {
            status,
            version,
            redirect: redirect.map_or_else(String::new, |line| line.value.clone()),
            headers: lines,
            after: self.began.elapsed(),
        });
        self.body = Captured::of(headers, super::LONGEST_BODY);
        self.ended = "left";
    }

    /// A piece of the answer's body.
    pub fn got(&mut self, data: &[u8]) {
        self.body.take(data);
    }

    /// The answer's body came to its end.
    pub fn whole(&mut self) {
        self.ended = "whole";
    }

    /// There is no answer, or its body broke; `error` is for the log.
    pub fn failed(&mut self, error: &dyn fmt::Display) {
        self.ended = if self.head.is_some() { "broken" } else { "failed" };
        self.error = Some(error.to_string());
    }

    /// A client's request is over: now it can be told whether it was one that is wanted.
    pub(in crate::telemetry) fn over(mut self: Box<Self>, over: &Over<'_>) {
        self.lose_interest();
        let wanted = self.trace.wanted.filter.takes_client(over.facts);
        self.ended = over.ended;
        self.error.clone_from(&over.facts.error);
        if let Some(entry) = self.entry(Some(over)).filter(|_| wanted) {
            self.write(&entry);
        }
    }

    /// What is written; nothing, if that was done.
    fn entry(&mut self, over: Option<&Over<'_>>) -> Option<Entry> {
        let mut request = self.request.take()?;
        request.body_size = i64::try_from(self.request_body.size()).unwrap_or(i64::MAX);
        request.post_data = std::mem::take(&mut self.request_body).posted(&mut self.seen);
        let body_size = i64::try_from(self.body.size()).unwrap_or(i64::MAX);
        let mut content = std::mem::take(&mut self.body).content(&mut self.seen);
        content.text = content.text.map(|text| self.seen.hide(&text).into_owned());
        let head = self.head.take();
        let timings = Timings::of(head.as_ref().map(|head| head.after), self.began.elapsed());
        let response = match head {
            Some(head) => Response {
                status: head.status.as_u16(),
                status_text: entry::status_text(head.status),
                http_version: entry::version(head.version),
                cookies: [],
                headers: self.hidden(head.headers),
                content,
                redirect_url: head.redirect,
                headers_size: -1,
                body_size,
            },
            None => Response {
                headers_size: -1,
                body_size: -1,
                ..Response::default()
            },
        };
        let facts = over.map(|over| over.facts);
        let registry = facts.map_or(self.registry.as_ref(), |facts| facts.registry.as_ref());
        let repository = facts.and_then(|facts| facts.repository.as_ref());
        Some(Entry {
            started_date_time: std::mem::take(&mut self.started),
            time: timings.whole(),
            request,
            response,
            cache: Nothing {},
            timings,
            side: self.side,
            request_id: over.map(|over| over.request_id.to_owned()),
            client: facts.and_then(|facts| facts.client),
            registry: registry.map(|name| name.as_str().to_owned()),
            repository: repository.map(|name| name.as_str().to_owned()),
            outcome: facts.and_then(|facts| facts.outcome),
            ended: self.ended,
            error: self.error.take().map(|error| self.seen.hide(&error).into_owned()),
        })
    }

    /// What repeats a secret in a header that is shown.
    fn hidden(&self, lines: Vec<Pair>) -> Vec<Pair> {
        let lines = lines.into_iter().map(|line| Pair {
            value: self.seen.hide(&line.value).into_owned(),
            name: line.name,
        });
        lines.collect()
    }

    fn write(&self, entry: &Entry) {
        // No entry holds what JSON has no words for.
        if let Ok(text) = serde_json::to_vec(entry) {
            self.trace.writer.soon(text);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.lose_interest();
        if self.side == Side::Upstream
            && let Some(entry) = self.entry(None)
        {
            self.write(&entry);
        }
    }
}
