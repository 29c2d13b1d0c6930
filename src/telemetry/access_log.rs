//! One line for each request, written when its last byte has left or its client has. No URL, header or credential
//! goes into it (threat S12): only names that were parsed.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::har;
use super::json_line::{JsonLine, Plain};
use super::lines::Lines;
use super::metrics::{BytesFrom, Metrics, Request, Source};
use super::request_id::RequestId;
use crate::oci::{RegistryName, Repository};

/// How requests are logged.
#[derive(Clone, Debug)]
pub enum AccessLog {
    Off,
    /// As every other line of the log.
    Text,
    /// Like that too, but made by hand: a general logger takes as long for a line as a small answer takes.
    Json(Lines),
}

/// What is known of a request so far. Handlers fill it in; whoever drops it last writes the line, so that a client
/// that leaves early is in the log too.
#[derive(Clone, Debug)]
pub struct Record(Arc<Mutex<Fields>>);

#[derive(Debug)]
struct Fields {
    request_id: RequestId,
    method: Method,
    started: Instant,
    facts: Facts,
    status: Option<StatusCode>,
    ttfb_ms: Option<u128>,
    bytes: u64,
    /// Of the request's body, where it is read.
    received: Option<u64>,
    ended: Ended,
    log: AccessLog,
    metrics: Metrics,
    /// Where it is recorded too.
    exchange: Option<Box<har::Exchange>>,
}

/// How the answer's body ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    /// The client left, or the answer was never made.
    Early,
    Whole,
    /// The upstream broke; the client saw a broken body.
    Broken,
}

/// What the handlers find out.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    pub client: Option<IpAddr>,
    /// One of docxy's own users; where a registry's own sign in, the name they have there, if docxy saw it.
    pub user: Option<String>,
    pub door: Option<&'static str>,
    /// For CONNECT: to where.
    pub place: Option<String>,
    pub registry: Option<RegistryName>,
    pub repository: Option<Repository>,
    pub kind: Option<&'static str>,
    /// Which of the operator's rules decided: its number, or a word. `None` where there are no rules.
    pub rule: Option<Cow<'static, str>>,
    pub outcome: Option<&'static str>,
    pub upstream_status: Option<StatusCode>,
    /// Why it failed, for people.
    pub error: Option<String>,
}

impl Record {
    pub fn new(request_id: RequestId, method: Method, log: AccessLog, metrics: Metrics) -> Self {
        Self(Arc::new(Mutex::new(Fields {
            request_id,
            method,
            started: Instant::now(),
            facts: Facts::default(),
            status: None,
            ttfb_ms: None,
            bytes: 0,
            received: None,
            ended: Ended::Early,
            log,
            metrics,
            exchange: None,
        })))
    }

    /// The request is recorded with all that is noted here.
    pub fn recorded(&self, exchange: Box<har::Exchange>) {
        self.with(|fields| fields.exchange = Some(exchange));
    }

    /// The recording, where there is one.
    pub fn exchange(&self, work: impl FnOnce(&mut har::Exchange)) {
        self.with(|fields| {
            if let Some(exchange) = &mut fields.exchange {
                work(exchange);
            }
        });
    }

    /// Adds what a handler found out.
    pub fn note(&self, write: impl FnOnce(&mut Facts)) {
        self.with(|fields| {
            write(&mut fields.facts);
            if let Some(exchange) = &mut fields.exchange {
                exchange.learn(&fields.facts);
            }
        });
    }

    /// The answer's head is ready; its body is counted from here on and ends the record.
    pub fn answered(self, status: StatusCode, body: Body) -> Body {
        self.with(|fields| {
            fields.status = Some(status);
            if fields.method == Method::HEAD {
                // The server drops the body of such an answer without looking at it.
                fields.ended = Ended::Whole;
                fields.ttfb_ms = Some(fields.started.elapsed().as_millis());
            }
        });
        Body::new(Counted { body, record: self })
    }

    /// What a client sends, counted as it is taken.
    pub fn receiving(&self, body: Body) -> Body {
        self.with(|fields| fields.received = Some(0));
        Body::new(Received {
            body,
            record: self.clone(),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Fields) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fields {
    /// A client that left before the answer was made counts with what is known of it.
    fn count(&self) {
        let outcome = self.facts.outcome.unwrap_or("own");
        let status = match self.status.map(|status| status.as_u16() / 100) {
            None => "none",
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
        };
        let kind = self.facts.kind.unwrap_or("other");
        self.metrics
            .requests
            .get_or_create(&Request {
                outcome,
                kind,
                status,
            })
            .inc();
        if let Some(received) = self.received {
            self.metrics.pushed_bytes.inc_by(received);
        }
        let source = match outcome {
            "hit" | "stale" | "revalidated" => Source::Cache,
            "joined" => Source::Joined,
            "miss" | "bypass" => Source::Upstream,
            _ => return,
        };
        self.metrics
            .bytes
            .get_or_create(&BytesFrom { source })
            .inc_by(self.bytes);
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.count();
        if let Some(exchange) = self.exchange.take() {
            exchange.over(&har::Over {
                request_id: self.request_id.as_str(),
                facts: &self.facts,
                ended: self.ended(),
            });
        }
        match &self.log {
            AccessLog::Off => {}
            // The filter of the log speaks for these lines too.
            _ if !tracing::enabled!(target: TARGET, tracing::Level::INFO) => {}
            AccessLog::Text => self.line().trace(),
            AccessLog::Json(lines) => lines.soon(|bytes, time| self.line().append(bytes, time)),
        }
    }
}

/// What `log.level` calls these lines.
const TARGET: &str = "docxy::access";
const MESSAGE: &str = "request";

/// The fields of one line, in their order.
struct Line<'a> {
    message: &'static str,
    request_id: &'a str,
    client: Option<IpAddr>,
    user: Option<&'a str>,
    method: &'a str,
    door: Option<&'a str>,
    place: Option<&'a str>,
    registry: Option<&'a str>,
    repository: Option<&'a str>,
    kind: Option<&'a str>,
    rule: Option<&'a str>,
    status: Option<u16>,
    outcome: Option<&'a str>,
    ended: &'a str,
    bytes: u64,
    received: Option<u64>,
    ttfb_ms: Option<u64>,
    duration_ms: u64,
    upstream_status: Option<u16>,
    error: Option<&'a str>,
}

impl Fields {
    fn ended(&self) -> &'static str {
        match (self.status, self.ended) {
            (None, _) => "left-before-answer",
            (_, Ended::Early) => "left",
            (_, Ended::Whole) => "whole",
            (_, Ended::Broken) => "broken",
        }
    }

    fn line(&self) -> Line<'_> {
        let facts = &self.facts;
        Line {
            message: MESSAGE,
            request_id: self.request_id.as_str(),
            client: facts.client,
            user: facts.user.as_deref(),
            method: self.method.as_str(),
            door: facts.door,
            place: facts.place.as_deref(),
            registry: facts.registry.as_ref().map(RegistryName::as_str),
            repository: facts.repository.as_ref().map(Repository::as_str),
            kind: facts.kind,
            rule: facts.rule.as_deref(),
            status: self.status.map(|status| status.as_u16()),
            outcome: facts.outcome,
            ended: self.ended(),
            bytes: self.bytes,
            received: self.received,
            ttfb_ms: self.ttfb_ms.and_then(|ms| u64::try_from(ms).ok()),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            upstream_status: facts.upstream_status.map(|status| status.as_u16()),
            error: facts.error.as_deref(),
        }
    }
}

impl Line<'_> {
    fn append(&self, bytes: &mut Vec<u8>, time: &str) {
        let mut line = JsonLine::begin(bytes, time, Plain(self.message));
        line.field(r#","request_id":"#, Plain(self.request_id));
        line.known(r#","client":"#, self.client);
        line.known(r#","user":"#, self.user);
        line.field(r#","method":"#, self.method);
        line.known(r#","door":"#, self.door.map(Plain));
        line.known(r#","place":"#, self.place);
        line.known(r#","registry":"#, self.registry.map(Plain));
        line.known(r#","repository":"#, self.repository.map(Plain));
        line.known(r#","kind":"#, self.kind.map(Plain));
        line.known(r#","rule":"#, self.rule.map(Plain));
        line.known(r#","status":"#, self.status);
        line.known(r#","outcome":"#, self.outcome.map(Plain));
        line.field(r#","ended":"#, Plain(self.ended));
        line.field(r#","bytes":"#, self.bytes);
        line.known(r#","received":"#, self.received);
        line.known(r#","ttfb_ms":"#, self.ttfb_ms);
        line.field(r#","duration_ms":"#, self.duration_ms);
        line.known(r#","upstream_status":"#, self.upstream_status);
        line.known(r#","error":"#, self.error);
        line.end(Plain(TARGET));
    }

    fn trace(&self) {
        let Self {
            message,
            request_id,
            client,
            user,
            method,
            door,
            place,
            registry,
            repository,
            kind,
            rule,
            status,
            outcome,
            ended,
            bytes,
            received,
            ttfb_ms,
            duration_ms,
            upstream_status,
            error,
        } = self;
        tracing::info!(
            target: TARGET,
            request_id = %request_id,
            client = client.map(tracing::field::display),
            user,
            method = %method,
            door,
            place,
            registry,
            repository,
            kind,
            rule,
            status,
            outcome,
            ended,
            bytes,
            received,
            ttfb_ms,
            duration_ms,
            upstream_status,
            error,
            "{message}"
        );
    }
}

/// A client's body that counts what is taken of it.
#[derive(Debug)]
struct Received {
    body: Body,
    record: Record,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.remaining() as u64);
            self.record
                .with(|fields| *fields.received.get_or_insert_default() += bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that counts what it hands out.
#[derive(Debug)]
struct Counted {
    body: Body,
    record: Record,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let over = self.body.is_end_stream();
        self.record.with(|fields| {
            fields
                .ttfb_ms
                .get_or_insert_with(|| fields.started.elapsed().as_millis());
            match &frame {
                Some(Ok(frame)) => {
                    fields.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    if let (Some(exchange), Some(data)) = (&mut fields.exchange, frame.data_ref()) {
                        exchange.got(data);
                    }
                    if over {
                        fields.ended = Ended::Whole;
                    }
                }
                Some(Err(error)) => {
                    fields.ended = Ended::Broken;
                    fields.facts.error = Some(error.to_string());
                }
                None => fields.ended = Ended::Whole,
            }
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let over = self.body.is_end_stream();
        if over {
            // hyper does not poll a body that says so.
            self.record.with(|fields| {
                fields
                    .ttfb_ms
                    .get_or_insert_with(|| fields.started.elapsed().as_millis());
                fields.ended = Ended::Whole;
            });
        }
        over
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A line as the general logger writes it and as it is made by hand, both without their time.
    fn both(facts: Facts, status: Option<StatusCode>) -> [String; 2] {
        let fields = Fields {
            request_id: RequestId::random(),
            method: Method::GET,
            started: Instant::now(),
            ttfb_ms: status.map(|_| 0),
            facts,
            status,
            bytes: 17,
            received: None,
            ended: Ended::Whole,
            log: AccessLog::Off,
            metrics: Metrics::default(),
            exchange: None,
        };
        let line = fields.line();
        let seen = Seen::default();
        let writer = seen.clone();
        let logger = tracing_subscriber::fmt()
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(logger, || line.trace());
        let mut own = Vec::new();
        line.append(&mut own, "2026-11-22T09:16:53.123456Z");
        let logged = std::mem::take(&mut *seen.0.lock().expect("no panic"));
        [logged, own].map(|bytes| {
            let text = String::from_utf8(bytes).expect("text");
            let (time, rest) = text.split_once(',').expect("fields");
            assert_eq!(time.len(), r#"{"timestamp":"2026-11-22T09:16:53.123456Z""#.len());
            rest.to_owned()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_made_by_hand_is_the_loggers_own() {
        // Whoever reads the log by machine must not learn of two kinds of line, nor be fooled by what a client sent.
        let facts = Facts {
            client: Some([192, 0, 2, 1].into()),
            user: Some("ann\"\n".into()),
            door: Some("ns"),
            place: None,
            registry: RegistryName::parse("ghcr.io").ok(),
            repository: Repository::parse("a/b").ok(),
            kind: Some("blob"),
            rule: Some("3".into()),
            outcome: Some("failed-upstream"),
            upstream_status: Some(StatusCode::BAD_GATEWAY),
            error: Some("said \"no\"\n{\u{1b}[31m\u{fc}".into()),
        };
        for (facts, status) in [(facts, Some(StatusCode::OK)), (Facts::default(), None)] {
            let [logged, own] = both(facts, status);
            assert_eq!(logged, own);
        }
    }
}
