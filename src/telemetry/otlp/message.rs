//! Spans in the words of the protocol.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::telemetry::traces::{self, Finished, Kind, Value};

/// W3C's flag for a trace that is recorded.
const SAMPLED: u32 = 1;

pub(super) fn request(
    service_name: &str,
    spans: impl Iterator<Item = Finished>,
) -> ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", service_name.to_owned()),
                    text("service.version", version.to_owned()),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "docxy".to_owned(),
                    version: version.to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn span(finished: Finished) -> Span {
    let kind = match finished.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    Span {
        trace_id: finished.trace.bytes().to_vec(),
        span_id: finished.id.bytes().to_vec(),
        parent_span_id: finished
            .parent
            .map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
        flags: SAMPLED,
        name: finished.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: finished.began,
        end_time_unix_nano: finished.ended,
        attributes: finished
            .attributes
            .into_iter()
            .map(|(key, value)| match value {
                Value::Text(value) => text(key, value.into_owned()),
                Value::Number(value) => said(key, any_value::Value::IntValue(value)),
            })
            .collect(),
        links: finished.links.into_iter().map(link).collect(),
        status: finished.error.map(|message| Status {
            message,
            code: StatusCode::Error.into(),
        }),
        ..Span::default()
    }
}

fn link(to: traces::Link) -> Link {
    Link {
        trace_id: to.trace.bytes().to_vec(),
        span_id: to.span.bytes().to_vec(),
        flags: SAMPLED,
        ..Link::default()
    }
}

fn text(key: &str, value: String) -> KeyValue {
    said(key, any_value::Value::StringValue(value))
}

fn said(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
