//! Real requests, and the figures that they leave.

use std::time::{Duration, Instant};

use crate::admin::{metrics::Metrics, scraped};
use crate::cache::support::{Cached, REPOSITORY, TAG, image_of};
use crate::support::{
    client::Request,
    stub::{Auth, Fault, Gate, On, StubRegistry},
};

const LAYER: u64 = 400_000;

/// A request is counted when its last byte has left: the figures once there are so many.
async fn after(docxy: &Cached, requests: u64) -> Metrics {
    let begin = Instant::now();
    loop {
        let seen = scraped(docxy).await;
        let counted = seen.sum("docxy_requests_total", &[]);
        assert!(
            counted <= requests,
            "{counted} requests were counted, of {requests}"
        );
        if counted == requests {
            return seen;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "waited 10 s in vain for {requests} requests; {counted} are counted"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_request_is_counted_once_by_how_it_went() {
    // The hit ratio, the bytes saved and every alert are made of these: each is asserted by its value.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .image(REPOSITORY, "7", image_of(720, &[usize::try_from(LAYER).unwrap()]))
        .image("acme/secret", "1", image_of(721, &[1000]))
        .private("acme/secret", &["ann"]);
    let config = "metrics_aliases = true\n[network]\nsegments = 1\n";
    let docxy = Cached::start(stub, config).await;
    let (layer, path) = docxy.layer();

    let gate = Gate::after(100_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut first = Request::get(&*path).open(docxy.app.addr()).await;
    gate.held().await;
    let mut second = Request::get(&*path).open(docxy.app.addr()).await;
    gate.open();
    first.rest().await;
    second.rest().await;
    docxy.stored(&layer).await;
    docxy.get(&path).await.assert_is(&layer, &docxy.stub);

    let root = docxy.image().root;
    docxy.get(TAG).await.assert_is(&root, &docxy.stub);
    docxy.stored(&root).await;
    docxy.get(TAG).await.assert_is(&root, &docxy.stub);
    let tags = docxy.get("/v2/library/redis/tags/list").await;
    assert_eq!(tags.status, 200);
    assert_eq!(docxy.get("/v2/library/redis/manifests/none").await.status, 404);
    let denied = docxy.get("/v2/acme/secret/manifests/1").await.status;
    assert!(matches!(denied, 401 | 403), "{denied}");
    docxy
        .stub
        .fault(On::path("*/manifests/broken"), Fault::Status(500));
    let broken = docxy.get("/v2/library/redis/manifests/broken").await;
    assert!(broken.status >= 500, "{}", broken.status);
    docxy.get("/v2/").await;
    docxy.get("/debug/panic").await;
    docxy.stub.down().await;
    docxy.get(TAG).await.assert_is(&root, &docxy.stub);

    let seen = after(&docxy, 12).await;
    let manifest = root.bytes.len() as u64;
    for (outcome, kind, status) in [
        ("miss", "blob", "2xx"),
        ("joined", "blob", "2xx"),
        ("hit", "blob", "2xx"),
        ("miss", "manifest", "2xx"),
        ("revalidated", "manifest", "2xx"),
        ("stale", "manifest", "2xx"),
        ("bypass", "tags", "2xx"),
        ("failed-client", "manifest", "4xx"),
        ("denied", "manifest", "4xx"),
        // What every client does first: `/v2/` tells it where to sign in.
        ("denied", "base", "4xx"),
        ("failed-upstream", "manifest", "5xx"),
        ("failed-local", "other", "5xx"),
    ] {
        let labels = [("outcome", outcome), ("kind", kind), ("status", status)];
        assert_eq!(seen.sum("docxy_requests_total", &labels), 1, "{labels:?}");
    }
    // Of a registry, all but the one that panicked.
    for (outcome, count) in [
        ("hit", 1),
        ("miss", 2),
        ("bypass", 1),
        ("denied", 2),
        ("stale", 1),
    ] {
        let labels = [("registry", "docker.io"), ("outcome", outcome)];
        assert_eq!(
            seen.sum("docxy_registry_requests_total", &labels),
            count,
            "{outcome}"
        );
    }
    let listed = tags.body.len() as u64;
    for (source, bytes) in [
        ("upstream", LAYER + manifest + listed),
        ("joined", LAYER),
        ("cache", LAYER + 2 * manifest),
    ] {
        let labels = [("source", source)];
        assert_eq!(seen.sum("docxy_bytes_total", &labels), bytes, "{source}");
        assert_eq!(seen.sum("docxy_registry_bytes_total", &labels), bytes, "{source}");
    }
    assert_eq!(seen.sum("docxy_pulled_bytes_total", &[("kind", "blob")]), LAYER);
    assert_eq!(
        seen.sum("docxy_pulled_bytes_total", &[("kind", "manifest")]),
        manifest
    );
    assert_eq!(seen.sum("docxy_fills_total", &[("ending", "complete")]), 1);
    assert_eq!(seen.sum("docxy_fills_total", &[]), 1);
    assert_eq!(seen.sum("docxy_cache_bytes", &[]), LAYER + manifest);
    assert_eq!(seen.sum("docxy_denied_total", &[("reason", "registry")]), 1);
    assert_eq!(seen.sum("docxy_denied_total", &[("reason", "sign-in-first")]), 1);
    assert_eq!(seen.sum("docxy_denied_total", &[]), 2);

    // Every request has a duration, and each that went well a first byte.
    assert_eq!(seen.sum("docxy_request_duration_seconds_count", &[]), 12);
    assert_eq!(
        seen.sum("docxy_request_duration_seconds_count", &[("kind", "blob")]),
        3
    );
    assert_eq!(
        seen.sum("docxy_first_byte_seconds_count", &[("outcome", "miss")]),
        2
    );

    let of = |to, status| {
        let labels = [("registry", "docker.io"), ("to", to), ("status", status)];
        seen.sum("docxy_upstream_requests_total", &labels)
    };
    let tokens = seen.sum("docxy_token_fetches_total", &[("result", "granted")]);
    assert!(tokens >= 1);
    assert_eq!(of("token", "2xx"), tokens);
    assert!(of("registry", "2xx") >= 4 && of("registry", "4xx") >= 2 && of("registry", "5xx") >= 1);
    assert!(of("registry", "none") >= 1, "it was down");
    let answered = of("registry", "2xx") + of("registry", "4xx") + of("registry", "5xx");
    let timed = [("registry", "docker.io"), ("to", "registry")];
    assert_eq!(seen.sum("docxy_upstream_latency_seconds_count", &timed), answered);
    assert_eq!(
        seen.sum("docxy_upstream_healthy", &[("registry", "docker.io")]),
        0
    );

    for (name, blob, manifests) in [
        ("registry_proxy_requests_total", 3, 6),
        ("registry_proxy_hits_total", 2, 2),
        ("registry_proxy_misses_total", 1, 1),
        ("registry_proxy_pulled_bytes_total", LAYER, manifest),
        ("registry_proxy_pushed_bytes_total", 3 * LAYER, 3 * manifest),
    ] {
        assert_eq!(seen.sum(name, &[("type", "blob")]), blob, "{name}");
        assert_eq!(seen.sum(name, &[("type", "manifest")]), manifests, "{name}");
    }

    assert!(seen.sum("process_resident_memory_bytes", &[]) > 1 << 20);
    assert!(seen.sum("process_open_fds", &[]) > 5);
    assert!(seen.sum("process_start_time_seconds", &[]) > 1_700_000_000);
    assert_eq!(
        seen.sum("docxy_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
        1
    );
    assert!(seen.sum("docxy_cache_capacity_bytes", &[]) > LAYER);
    assert!(seen.sum("docxy_cache_free_bytes", &[]) > 0);
}

#[tokio::test]
async fn open_connections_are_counted_down_again() {
    // A gauge that only climbs says nothing about a leak of descriptors.
    let docxy = Cached::of(image_of(722, &[1000]), "").await;
    let waiting = tokio::net::TcpStream::connect(docxy.app.addr()).await.unwrap();
    connections(&docxy, 1).await;
    drop(waiting);
    connections(&docxy, 0).await;
}

async fn connections(docxy: &Cached, expected: u64) {
    let begin = Instant::now();
    loop {
        let open = scraped(docxy).await.sum("docxy_connections_open", &[]);
        if open == expected {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{open}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_counted_as_one() {
    // Whoever is attacked sees it here first; and what every client does first, asking without, is no failure.
    let rules = "[registries.\"docker.io\"]\nclients = \"users\"\n[access]\nuser_files = [\"users\"]\n";
    let docxy = Cached::built(
        StubRegistry::builder()
            .image(REPOSITORY, "7", image_of(723, &[1000]))
            .start()
            .await,
        move |app| {
            app.config(rules).file(
                "users",
                "ann:$2y$05$Ktt3InghrTm3pwFOtu5/5.3eHP.Yf8BWvBTctpYoQRr9NQysRQB5G\n",
            )
        },
    )
    .await;
    assert_eq!(docxy.get(TAG).await.status, 401);
    let wrong = Request::get(TAG).basic("ann", "wrong");
    assert_eq!(docxy.send(wrong).await.status, 401);
    let seen = after(&docxy, 2).await;
    assert_eq!(seen.sum("docxy_denied_total", &[("reason", "sign-in-first")]), 1);
    assert_eq!(seen.sum("docxy_denied_total", &[("reason", "bad-sign-in")]), 1);
    assert_eq!(
        seen.sum("docxy_auth_failures_total", &[("reason", "bad-sign-in")]),
        1
    );
    assert_eq!(seen.sum("docxy_auth_failures_total", &[]), 1);
}
