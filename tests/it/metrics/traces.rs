//! Traces as a collector gets them: OTLP over HTTP, decoded with the protocol's own messages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::admin::scraped;
use crate::cache::support::{Cached, REPOSITORY, TAG, image_of};
use crate::support::{
    client::Request,
    stub::{Auth, Fault, Gate, On, StubRegistry},
    within,
};

/// A collector that keeps what it gets.
struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Got>>,
}

#[derive(Default)]
struct Got {
    spans: Vec<Span>,
    heads: Vec<(String, HeaderMap)>,
    raw: Vec<u8>,
    resource: BTreeMap<String, String>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Got>> = Arc::default();
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let kept = Arc::clone(&kept);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        kept.lock().unwrap().take(head.uri.path(), head.headers, &body);
                        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, got }
    }

    /// All spans, once these have come.
    async fn spans(&self, what: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let begin = Instant::now();
        loop {
            let spans = self.got.lock().unwrap().spans.clone();
            if enough(&spans) {
                return spans;
            }
            let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
            assert!(begin.elapsed() < Duration::from_secs(10), "no {what}: {names:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn config(&self, sample: &str) -> String {
        format!(
            "[otlp]\nendpoint = \"http://{}/\"\nsample = {sample}\nservice_name = \"docxy-test\"\n\
             [otlp.headers]\nauthorization = \"Bearer canary-of-the-collector\"\n[network]\nsegments = 1\n",
            self.address
        )
    }
}

impl Got {
    fn take(&mut self, path: &str, headers: HeaderMap, body: &[u8]) {
        self.raw.extend_from_slice(body);
        self.heads.push((path.to_owned(), headers));
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        for of in request.resource_spans {
            let resource = of.resource.unwrap_or_default();
            for attribute in resource.attributes {
                let value = attribute.value.and_then(|value| value.value);
                self.resource.insert(attribute.key, format!("{value:?}"));
            }
            self.spans
                .extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
}

fn said<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    match said(span, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} of {} is {other:?}", span.name),
    }
}

fn hex(trace: &[u8]) -> String {
    let number = u128::from_be_bytes(trace.try_into().unwrap());
    format!("{number:032x}")
}

/// The names of a span and of all above it.
fn way(span: &Span, all: &[Span]) -> String {
    let mut names = vec![span.name.as_str()];
    let mut at = span;
    while let Some(parent) = all.iter().find(|other| other.span_id == at.parent_span_id) {
        names.push(&parent.name);
        at = parent;
    }
    names.reverse();
    names.join(" > ")
}

#[tokio::test]
async fn a_cold_pull_is_one_trace_with_every_step_and_no_secret() {
    // Whoever asks why a pull was slow sees which step it was, and nothing that he could pull with.
    let collector = Collector::start().await;
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("ann", "canary-password")
        .image(REPOSITORY, "7", image_of(740, &[50_000]))
        .start()
        .await;
    let config = collector.config("1");
    let docxy = Cached::built(stub, move |app| {
        app.config(&config)
            .configured("docker.io", "ann", "canary-password")
    })
    .await;
    let (layer, path) = docxy.layer();
    let get = Request::get(format!("{path}?secret=canary-query")).header(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    docxy.send(get).await.assert_is(&layer, &docxy.stub);
    let line = docxy.app.accessed("kind", "blob").await;

    let whole = |spans: &[Span]| {
        let has = |name: &str| spans.iter().any(|span| span.name == name);
        has("GET blob") && has("fill") && has("token")
    };
    let spans = collector.spans("trace of a blob", whole).await;
    let root = spans.iter().find(|span| span.name == "GET blob").unwrap();
    // No request of a stranger's chooses its trace.
    assert!(root.parent_span_id.is_empty());
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id));
    let id = hex(&root.trace_id);
    assert_ne!(id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["trace_id"], id);
    assert_eq!(line["request_id"], *text(root, "docxy.request_id"));
    assert_eq!(text(root, "docxy.outcome"), "miss");
    assert_eq!(text(root, "docxy.registry"), "docker.io");
    assert_eq!(text(root, "docxy.repository"), REPOSITORY);
    assert_eq!(
        said(root, "http.response.status_code"),
        Some(&Value::IntValue(200))
    );

    let ways: Vec<String> = spans.iter().map(|span| way(span, &spans)).collect();
    for step in [
        "GET blob > route",
        "GET blob > access",
        "GET blob > lookup",
        "GET blob > fill",
        "GET blob > body",
    ] {
        let count = ways.iter().filter(|way| *way == step).count();
        assert_eq!(count, 1, "{step}: {ways:#?}");
    }
    for step in ["GET blob > fill > upstream", "GET blob > fill > token > upstream"] {
        assert!(ways.iter().any(|way| way == step), "{step}: {ways:#?}");
    }
    for span in &spans {
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{}",
            span.name
        );
        if span.name == "upstream" {
            let to = text(span, "docxy.to");
            assert!(["registry", "storage", "token"].contains(&to), "{to}");
            assert!(said(span, "http.response.status_code").is_some());
        }
    }
    let body = spans.iter().find(|span| span.name == "body").unwrap();
    assert_eq!(said(body, "docxy.bytes"), Some(&Value::IntValue(50_000)));

    let got = collector.got.lock().unwrap();
    assert_eq!(got.heads[0].0, "/v1/traces");
    assert_eq!(got.heads[0].1["content-type"], "application/x-protobuf");
    assert_eq!(got.heads[0].1["authorization"], "Bearer canary-of-the-collector");
    assert!(got.resource["service.name"].contains("docxy-test"));
    let raw = String::from_utf8_lossy(&got.raw);
    let secrets = docxy.stub.secrets_issued();
    assert!(!secrets.is_empty());
    for secret in secrets.iter().map(String::as_str).chain(["canary", "Bearer"]) {
        assert!(!raw.contains(secret), "{secret} was sent");
    }
    // Identifiers are bytes by chance; no text holds the sign of a query.
    for span in &spans {
        assert!(!format!("{:?}", span.attributes).contains('?'), "{span:?}");
    }
    for seen in docxy.stub.requests() {
        assert_eq!(seen.header("traceparent"), None);
        assert_eq!(seen.header("tracestate"), None);
    }
    assert!(!docxy.app.log_text().contains("canary-of-the-collector"));
}

#[tokio::test]
async fn who_joins_a_download_is_linked_with_it() {
    // A slow pull that waited for somebody else's download: the upstream's part of it is in that one's trace, and only there.
    let collector = Collector::start().await;
    let docxy = Cached::of(image_of(744, &[2_000_000]), &collector.config("1")).await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(1_000_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let mut open = Request::get(&path).open(docxy.app.addr()).await;
        let begun = within("a beginning", open.read(500_000)).await;
        bodies.push((open, begun));
    }
    gate.open();
    for (mut open, mut bytes) in bodies {
        bytes.extend(within("a body", open.rest()).await);
        assert!(bytes == layer.bytes);
    }
    let named = |spans: &[Span], name: &str| -> Vec<Span> {
        let own = spans.iter().filter(|span| span.name == name);
        own.cloned().collect()
    };
    let whole = |spans: &[Span]| named(spans, "GET blob").len() == 2 && named(spans, "fill").len() == 1;
    let spans = collector.spans("two traces", whole).await;
    let fill = named(&spans, "fill").remove(0);
    let joins = named(&spans, "join");
    assert!(
        joins.iter().any(|span| way(span, &spans) == "GET blob > join"),
        "{spans:#?}"
    );
    for join in &joins {
        assert_ne!(join.trace_id, fill.trace_id);
        let links: Vec<_> = join
            .links
            .iter()
            .map(|link| (&link.trace_id, &link.span_id))
            .collect();
        assert_eq!(links, [(&fill.trace_id, &fill.span_id)]);
    }
    let others = spans.iter().filter(|span| span.name != "join");
    assert!(others.into_iter().all(|span| span.links.is_empty()));
}

#[tokio::test]
async fn a_trusted_proxy_decides_for_its_requests() {
    // docxy's part belongs into the trace of the proxy before it; and what the proxy does not record, docxy does not.
    let collector = Collector::start().await;
    let config = format!("trusted_proxies = [\"127.0.0.0/8\"]\n{}", collector.config("0"));
    let docxy = Cached::of(image_of(741, &[1000]), &config).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let get = |flags: &str, path: &str| {
        Request::get(path).header("traceparent", format!("00-{trace}-b7ad6b7169203331-{flags}"))
    };
    docxy.send(get("00", "/v2/")).await;
    docxy.get("/v2/").await;
    docxy.send(get("01", TAG)).await;
    let spans = collector
        .spans("trace of the proxy's", |spans| {
            spans.iter().any(|span| span.name == "GET manifest")
        })
        .await;
    let root = spans.iter().find(|span| span.name == "GET manifest").unwrap();
    let id = hex(&root.trace_id);
    assert_eq!(id, trace);
    assert_eq!(root.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(
        spans.iter().all(|span| span.trace_id == root.trace_id),
        "no other one"
    );
    let line = docxy.app.accessed("kind", "manifest").await;
    assert_eq!(line["trace_id"], trace);
    assert!(docxy.app.accessed("kind", "base").await.get("trace_id").is_none());
}

#[tokio::test]
async fn a_collector_that_is_away_costs_one_line_and_no_pull() {
    // Nobody's deployment waits for a monitoring system that is down.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!("[otlp]\nendpoint = \"http://{gone}\"\nsample = 1\n");
    let docxy = Cached::of(image_of(742, &[1000]), &config).await;
    let begin = Instant::now();
    let mut failed = 0;
    while failed < 20 {
        docxy.pull_all().await;
        let seen = scraped(&docxy).await;
        failed = seen.sum("docxy_trace_spans_total", &[("result", "failed")]);
        assert_eq!(seen.sum("docxy_trace_spans_total", &[("result", "exported")]), 0);
        assert!(begin.elapsed() < Duration::from_secs(20), "{failed} spans failed");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = docxy.stop().await;
    assert_eq!(
        ended.log.matches("does not take traces").count(),
        1,
        "{}",
        ended.log
    );
}

#[tokio::test]
async fn what_waits_is_sent_before_docxy_ends() {
    // The last requests before a stop are those that somebody looks for.
    let collector = Collector::start().await;
    let docxy = Cached::of(image_of(743, &[1000]), &collector.config("1")).await;
    docxy.get("/v2/").await;
    docxy.app.accessed("kind", "base").await;
    docxy.stop().await;
    let spans = collector.got.lock().unwrap().spans.clone();
    assert!(spans.iter().any(|span| span.name == "GET base"), "{spans:?}");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nothing() {
    // One that hangs is worse than one that is away: no pull waits for it, and no end.
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "[otlp]\nendpoint = \"http://{}\"\nsample = 1\n",
        hangs.local_addr().unwrap()
    );
    let (taken, mut seen) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hangs.accept().await {
            held.push(stream);
            let _ = taken.try_send(());
        }
    });
    let docxy = Cached::of(image_of(744, &[1000]), &config).await;
    docxy.pull_all().await;
    let connected = tokio::time::timeout(Duration::from_secs(10), seen.recv()).await;
    assert_eq!(connected, Ok(Some(())), "docxy sends spans");
    for _ in 0..50 {
        docxy.pull_all().await;
    }
    let figures = scraped(&docxy).await;
    assert_eq!(
        figures.sum("docxy_trace_spans_total", &[("result", "exported")]),
        0
    );
    let begin = Instant::now();
    docxy.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_method_that_nobody_knows_is_no_word_of_a_trace() {
    // A client's own text must not become the name of a span, and fill a collector's index.
    let collector = Collector::start().await;
    let docxy = Cached::of(image_of(745, &[1000]), &collector.config("1")).await;
    let method = "BREW".repeat(100);
    let answer = docxy.send(Request::new(&method, "/v2/")).await;
    assert!(answer.status >= 400, "{}", answer.status);
    let is_root = |span: &Span| said(span, "http.request.method").is_some();
    let spans = collector
        .spans("span of the request", |spans| spans.iter().any(is_root))
        .await;
    let root = spans.iter().find(|span| is_root(span)).unwrap();
    assert_eq!(text(root, "http.request.method"), "_OTHER");
    assert!(root.name.starts_with("HTTP "), "{}", root.name);
}
