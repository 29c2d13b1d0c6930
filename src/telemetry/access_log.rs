//! One line for each request, written when its last byte has left or its client has. No URL, header or credential
//! goes into it (threat S12): only names that were parsed.

mod line;

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use self::line::TARGET;
use super::har;
use super::lines::Lines;
use super::metrics::{self, Kind, Metrics, Outcome, Status, Word as _};
use super::request_id::RequestId;
use super::traces::Span;
use crate::oci::{RegistryName, Repository};

/// How requests are logged.
#[derive(Clone, Debug)]
pub enum AccessLog {
    /// Nor are requests counted or traced: what a benchmark compares with.
    Nobody,
    Off,
    /// As every other line of the log.
    Text,
    /// Like that too, but made by hand: a general logger takes as long for a line as a small answer takes.
    Json(Lines),
}

/// What is known of a request so far. Handlers fill it in; whoever drops it last writes the line, so that a client
/// that leaves early is in the log too.
#[derive(Clone, Debug)]
pub struct Record(Option<Arc<Mutex<Fields>>>);

#[derive(Debug)]
struct Fields {
    request_id: RequestId,
    method: Method,
    started: Instant,
    facts: Facts,
    status: Option<StatusCode>,
    ttfb: Option<Duration>,
    bytes: u64,
    /// Of the request's body, where it is read.
    received: Option<u64>,
    ended: Ended,
    log: AccessLog,
    metrics: Metrics,
    /// Where it is recorded too.
    exchange: Option<Box<har::Exchange>>,
    /// Of the whole request, where it is traced.
    span: Span,
    /// From the answer's head to its end.
    body: Span,
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
    pub fn new(request_id: RequestId, method: Method, log: AccessLog, metrics: Metrics, span: Span) -> Self {
        Self(Some(Arc::new(Mutex::new(Fields {
            request_id,
            method,
            started: Instant::now(),
            facts: Facts::default(),
            status: None,
            ttfb: None,
            bytes: 0,
            received: None,
            ended: Ended::Early,
            log,
            metrics,
            exchange: None,
            span,
            body: Span::none(),
        }))))
    }

    /// Of a request that nobody is told of: what a benchmark compares with.
    pub fn of_nobody() -> Self {
        Self(None)
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
        if self.0.is_none() {
            return body;
        }
        self.with(|fields| {
            fields.status = Some(status);
            fields.body = fields.span.step("body");
            if fields.method == Method::HEAD {
                // The server drops the body of such an answer without looking at it.
                fields.ended = Ended::Whole;
                fields.ttfb = Some(fields.started.elapsed());
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

    fn with(&self, work: impl FnOnce(&mut Fields)) {
        if let Some(fields) = &self.0 {
            work(&mut fields.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Fields {
    /// A client that left before the answer was made counts with what is known of it.
    fn count(&self, took: Duration) {
        let facts = &self.facts;
        self.metrics.count(&metrics::Request {
            outcome: facts.outcome.and_then(Outcome::parse).unwrap_or(Outcome::Own),
            kind: facts.kind.and_then(Kind::parse).unwrap_or(Kind::Other),
            status: Status::of(self.status),
            registry: facts.registry.as_ref().map(RegistryName::as_str),
            bytes: self.bytes,
            received: self.received,
            first_byte: self.ttfb,
            took,
        });
    }

    /// Ends the request's spans, where it has any, with what is known of it.
    fn trace(&mut self) {
        let (facts, ended, bytes) = (&self.facts, self.ended(), self.bytes);
        self.body.note(|notes| {
            notes.number("docxy.bytes", bytes);
            notes.text("docxy.ended", ended);
            if self.ended == Ended::Broken {
                notes.failed(facts.error.clone().unwrap_or_default());
            }
        });
        drop(std::mem::replace(&mut self.body, Span::none()));
        let kind = facts.kind.unwrap_or("other");
        self.span.note(|notes| {
            let method = known(&self.method);
            notes.named(format!("{} {kind}", method.unwrap_or("HTTP")));
            notes.text("http.request.method", method.unwrap_or("_OTHER"));
            notes.text("docxy.request_id", self.request_id.as_str().to_owned());
            notes.text("docxy.kind", kind);
            notes.text("docxy.ended", ended);
            for (key, word) in [("docxy.outcome", facts.outcome), ("docxy.door", facts.door)] {
                if let Some(word) = word {
                    notes.text(key, word);
                }
            }
            if let Some(status) = self.status {
                notes.number("http.response.status_code", status.as_u16());
            }
            if let Some(registry) = &facts.registry {
                notes.text("docxy.registry", registry.as_str().to_owned());
            }
            if let Some(repository) = &facts.repository {
                notes.text("docxy.repository", repository.as_str().to_owned());
            }
            if let Some(client) = facts.client {
                notes.text("client.address", client.to_string());
            }
            if self.status.is_none_or(|status| status.is_server_error()) {
                notes.failed(facts.error.clone().unwrap_or_else(|| ended.to_owned()));
            }
        });
        // It ends here; the log still names its trace.
    }
}

/// As OpenTelemetry has it: any other is a text of the client's own.
fn known(method: &Method) -> Option<&'static str> {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ]
    .iter()
    .zip([
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
    ])
    .find_map(|(known, word)| (known == method).then_some(word))
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
}

impl Drop for Fields {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.count(took);
        self.trace();
        if let Some(exchange) = self.exchange.take() {
            exchange.over(&har::Over {
                request_id: self.request_id.as_str(),
                facts: &self.facts,
                ended: self.ended(),
            });
        }
        match &self.log {
            AccessLog::Nobody | AccessLog::Off => {}
            // The filter of the log speaks for these lines too.
            _ if !tracing::enabled!(target: TARGET, tracing::Level::INFO) => {}
            AccessLog::Text => self.line(took).trace(),
            AccessLog::Json(lines) => lines.soon(|bytes, time| self.line(took).append(bytes, time)),
        }
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
            fields.ttfb.get_or_insert_with(|| fields.started.elapsed());
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
                fields.ttfb.get_or_insert_with(|| fields.started.elapsed());
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

    use http::HeaderMap;

    use super::*;
    use crate::telemetry::Traces;

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
    fn both(facts: Facts, status: Option<StatusCode>, span: Span) -> [String; 2] {
        let fields = Fields {
            request_id: RequestId::random(),
            method: Method::GET,
            started: Instant::now(),
            ttfb: status.map(|_| Duration::ZERO),
            facts,
            status,
            bytes: 17,
            received: None,
            ended: Ended::Whole,
            log: AccessLog::Off,
            metrics: Metrics::default(),
            exchange: None,
            span,
            body: Span::none(),
        };
        let line = fields.line(Duration::from_millis(3));
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
        let (traces, _spans) = Traces::of(1_000_000, Metrics::default());
        let span = traces.begin(&HeaderMap::new(), || false);
        for (facts, status, span) in [
            (facts, Some(StatusCode::OK), span),
            (Facts::default(), None, Span::none()),
        ] {
            let [logged, own] = both(facts, status, span);
            assert_eq!(logged, own);
        }
    }
}
