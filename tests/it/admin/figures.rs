//! Figures that an operator's graphs are drawn from: right, bounded, and nobody's but his.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{ask, metrics::Metrics, scraped, socket};
use crate::cache::support::{Cached, TAG, image_of};
use crate::support::{
    client::Request,
    stub::{Fault, Gate, On},
};

/// A blob's file is there a moment before it is counted: the figures once they tell of so many.
async fn scraped_with(docxy: &Cached, objects: u64) -> Metrics {
    let begin = Instant::now();
    loop {
        let seen = scraped(docxy).await;
        let counted = seen.sum("docxy_cache_objects", &[]);
        if counted == objects {
            return seen;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "waited 10 s in vain for {objects} objects; {counted} are counted"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn they_follow_what_happens() {
    // A hit rate that is not the hit rate is worse than none.
    let docxy = Cached::of(image_of(700, &[400_000]), "[network]\nsegments = 1").await;
    let empty = scraped(&docxy).await;
    assert_eq!(
        (
            empty.sum("docxy_cache_bytes", &[]),
            empty.sum("docxy_cache_objects", &[])
        ),
        (0, 0)
    );
    let (layer, path) = docxy.layer();
    let gate = Gate::after(100_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut first = Request::get(&*path).open(docxy.app.addr()).await;
    gate.held().await;
    let mut second = Request::get(&*path).open(docxy.app.addr()).await;
    gate.open();
    first.rest().await;
    second.rest().await;
    // Whoever asks before that still joins.
    scraped_with(&docxy, 1).await;
    docxy.get(&path).await.assert_is(&layer, &docxy.stub);
    // Lines are written, and counted, when the body has ended.
    for outcome in ["miss", "joined", "hit"] {
        docxy.app.accessed("outcome", outcome).await;
    }
    let seen = scraped(&docxy).await;
    for outcome in ["miss", "joined", "hit"] {
        let labels = [("outcome", outcome), ("kind", "blob"), ("status", "2xx")];
        assert_eq!(seen.sum("docxy_requests_total", &labels), 1, "{outcome}");
    }
    for source in ["upstream", "joined", "cache"] {
        assert_eq!(
            seen.sum("docxy_bytes_total", &[("source", source)]),
            400_000,
            "{source}"
        );
    }
    assert_eq!(seen.sum("docxy_fills_total", &[]), 1);
    assert_eq!(seen.sum("docxy_cache_bytes", &[]), 400_000);

    docxy.pull_all().await;
    let bytes = || {
        docxy
            .folder()
            .blobs()
            .iter()
            .map(|blob| blob.metadata().map_or(0, |found| found.len()))
            .sum::<u64>()
    };
    let seen = scraped_with(&docxy, 3).await;
    assert_eq!(seen.sum("docxy_cache_bytes", &[]), bytes());

    ask(
        &socket(&docxy.app),
        "POST",
        "/api/v1/cache/remove",
        r#"{"all":true}"#,
    )
    .await;
    let seen = scraped(&docxy).await;
    assert_eq!(
        (
            seen.sum("docxy_cache_bytes", &[]),
            seen.sum("docxy_cache_objects", &[])
        ),
        (0, 0)
    );
    assert_eq!(seen.sum("docxy_evictions_total", &[("reason", "asked")]), 3);
}

#[tokio::test]
async fn a_start_counts_what_lies_there() {
    // A graph must not show an empty cache after each restart.
    let docxy = Cached::of(image_of(701, &[1000, 2000]), "").await;
    docxy.warm().await;
    let before = scraped_with(&docxy, 4).await.sum("docxy_cache_bytes", &[]);
    let docxy = docxy.again().await;
    let after = scraped(&docxy).await;
    assert!(before > 3000);
    assert_eq!(after.sum("docxy_cache_bytes", &[]), before);
    assert_eq!(after.sum("docxy_cache_objects", &[]), 4);
}

#[tokio::test]
async fn never_on_a_clients_port() {
    // Behind a reverse proxy every peer is loopback: no address makes somebody an operator.
    let docxy = Cached::of(image_of(702, &[1000]), "metrics_listen = [\"127.0.0.1:0\"]").await;
    for path in [
        "/metrics",
        "/api/v1/about",
        "/api/v1/cache",
        "/api/v1/cache/blobs",
    ] {
        assert_eq!(docxy.get(path).await.status, 404, "{path}");
    }
    let remove = Request::new("POST", "/api/v1/cache/remove");
    assert_eq!(docxy.send(remove).await.status, 404);
    let line = docxy
        .app
        .logged("the address of the metrics", |line| {
            line["fields"]["message"] == "metrics at /metrics"
        })
        .await;
    let own: std::net::SocketAddr = line["fields"]["address"].as_str().unwrap().parse().unwrap();
    docxy.pull_all().await;
    let answer = Request::get("/metrics").send(own).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // As Kubernetes names it.
    let by_name = Request::get("/metrics").header("Host", "docxy.monitoring.svc:9090");
    assert_eq!(by_name.send(own).await.status, 200);
    let seen = Metrics::parse(&answer.text());
    assert!(seen.sum("docxy_requests_total", &[("outcome", "miss")]) >= 1);
    for path in ["/api/v1/about", "/api/v1/cache", "/v2/", TAG, "/livez"] {
        assert_eq!(Request::get(path).send(own).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn clients_choose_no_label() {
    // A series for each repository that somebody makes up would fill the operator's memory.
    let docxy = Cached::of(image_of(703, &[1000]), "").await;
    let ask = async |n: usize| {
        docxy.get(&format!("/v2/made/up-{n}/manifests/v{n}")).await;
        docxy.get(&format!("/nowhere/{n}")).await;
        let repository = format!("made/up-{n}");
        docxy.app.accessed("repository", &repository).await;
    };
    let series = async || -> BTreeSet<String> {
        let seen = scraped(&docxy).await;
        let names = seen
            .samples
            .iter()
            .map(|sample| format!("{} {:?}", sample.name, sample.labels));
        names.collect()
    };
    ask(0).await;
    let before = series().await;
    for n in 1..40 {
        ask(n).await;
    }
    assert_eq!(series().await, before);
}
