//! One line for each request, written when its last byte has left or its client has. No URL, header or credential
//! goes into it (threat S12): only names that were parsed.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::metrics::{BytesFrom, Metrics, Request, Source};

/// What is known of a request so far. Handlers fill it in; whoever drops it last writes the line, so that a client
/// that leaves early is in the log too.
#[derive(Clone, Debug)]
pub struct Record(Arc<Mutex<Fields>>);

#[derive(Debug)]
struct Fields {
    request_id: String,
    method: Method,
    started: Instant,
    facts: Facts,
    status: Option<StatusCode>,
    ttfb_ms: Option<u128>,
    bytes: u64,
    ended: Ended,
    enabled: bool,
    metrics: Metrics,
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
    pub door: Option<&'static str>,
    pub registry: Option<String>,
    pub repository: Option<String>,
    pub kind: Option<&'static str>,
    pub outcome: Option<&'static str>,
    pub upstream_status: Option<StatusCode>,
    /// Why it failed, for people.
    pub error: Option<String>,
}

impl Record {
    pub fn new(request_id: String, method: Method, enabled: bool, metrics: Metrics) -> Self {
        Self(Arc::new(Mutex::new(Fields {
            request_id,
            method,
            started: Instant::now(),
            facts: Facts::default(),
            status: None,
            ttfb_ms: None,
            bytes: 0,
            ended: Ended::Early,
            enabled,
            metrics,
        })))
    }

    /// Adds what a handler found out.
    pub fn note(&self, write: impl FnOnce(&mut Facts)) {
        self.with(|fields| write(&mut fields.facts));
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
        if !self.enabled {
            return;
        }
        let Facts {
            client,
            door,
            registry,
            repository,
            kind,
            outcome,
            upstream_status,
            error,
        } = &self.facts;
        let ended = match (self.status, self.ended) {
            (None, _) => "left-before-answer",
            (_, Ended::Early) => "left",
            (_, Ended::Whole) => "whole",
            (_, Ended::Broken) => "broken",
        };
        tracing::info!(
            target: "docxy::access",
            request_id = %self.request_id,
            client = client.map(tracing::field::display),
            method = %self.method,
            door,
            registry,
            repository,
            kind,
            status = self.status.map(|status| status.as_u16()),
            outcome,
            ended,
            bytes = self.bytes,
            ttfb_ms = self.ttfb_ms.and_then(|ms| u64::try_from(ms).ok()),
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            upstream_status = upstream_status.map(|status| status.as_u16()),
            error,
            "request"
        );
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
