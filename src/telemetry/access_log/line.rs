//! The line itself: its fields in their order, as every other line of the log or made by hand.

use std::net::IpAddr;
use std::time::Duration;

use super::Fields;
use crate::oci::{RegistryName, Repository};
use crate::telemetry::json_line::{JsonLine, Plain};
use crate::telemetry::traces::TraceId;

/// What `log.level` calls these lines.
pub(super) const TARGET: &str = "docxy::access";
const MESSAGE: &str = "request";

/// The fields of one line, in their order.
pub(super) struct Line<'a> {
    message: &'static str,
    request_id: &'a str,
    trace_id: Option<TraceId>,
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
    pub(super) fn line(&self, took: Duration) -> Line<'_> {
        let facts = &self.facts;
        Line {
            message: MESSAGE,
            request_id: self.request_id.as_str(),
            trace_id: self.span.trace(),
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
            ttfb_ms: self.ttfb.map(milliseconds),
            duration_ms: milliseconds(took),
            upstream_status: facts.upstream_status.map(|status| status.as_u16()),
            error: facts.error.as_deref(),
        }
    }
}

impl Line<'_> {
    pub fn append(&self, bytes: &mut Vec<u8>, time: &str) {
        let mut line = JsonLine::begin(bytes, time, Plain(self.message));
        line.field(r#","request_id":"#, Plain(self.request_id));
        if let Some(trace) = self.trace_id {
            line.field(r#","trace_id":"#, Plain(&trace.to_string()));
        }
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

    pub fn trace(&self) {
        let Self {
            message,
            request_id,
            trace_id,
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
            trace_id = trace_id.map(tracing::field::display),
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

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
