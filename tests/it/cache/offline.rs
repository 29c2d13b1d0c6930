//! No upstream at all: docxy starts and serves what it has; and `offline = true` asks nobody even where somebody is.

use std::time::{Duration, Instant};

use super::support::{Cached, REPOSITORY, TAG, blob_path, image_of, word};
use crate::support::{client::Request, image::sha256};

#[tokio::test]
async fn it_starts_and_serves_without_any_upstream() {
    // The line of the issue: no network, everything that was pulled before.
    let docxy = Cached::of(image_of(200, &[1000, 100_000, 300_000]), "").await;
    docxy.warm().await;
    let ended = docxy.stop().await;
    ended.stub.down().await;
    let begin = Instant::now();
    let docxy = ended.start().await;
    let started = begin.elapsed();
    docxy.pull_all().await;
    for status in ["/livez", "/readyz"] {
        assert_eq!(docxy.get(status).await.status, 200, "{status}");
    }
    let answer = docxy.get(TAG).await;
    assert_eq!(word(&answer), "stale");
    let head = docxy.head(TAG).await;
    assert_eq!(
        (head.status, head.header("docker-content-digest")),
        (200, Some(docxy.image().digest()))
    );
    println!(
        "offline: started in {started:.1?}, a tag and {} blobs served",
        docxy.image().blobs.len()
    );
    assert!(started < Duration::from_secs(5));
}

#[tokio::test]
async fn an_empty_cache_without_upstream_starts_and_refuses() {
    // A cold start in a dark data centre is an error for each pull and none for the process.
    let docxy = Cached::of(image_of(201, &[1000]), "").await;
    let ended = docxy.stop().await;
    ended.stub.down().await;
    let docxy = ended.start().await;
    for path in [TAG.to_owned(), docxy.layer().1] {
        docxy.get(&path).await.assert_refused(
            502,
            &["UNAVAILABLE", "UNKNOWN", "TOOMANYREQUESTS", "DENIED"],
            "docker.io",
            &docxy.stub,
        );
    }
    assert_eq!(docxy.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn offline_never_asks() {
    // For the aeroplane, and for the auditor: not one connection leaves, for hits, misses, lists or tokens.
    let docxy = Cached::of(image_of(202, &[1000, 50_000]), "").await;
    docxy.warm().await;
    let ended = docxy.stop().await;
    let docxy = ended.start_with("[cache]\noffline = true").await;
    docxy.stub.forget();
    let before = docxy.stub.connections();
    docxy.pull_all().await;
    docxy.pull_all().await;
    let missing = format!("/v2/{REPOSITORY}/blobs/{}", sha256(b"missing"));
    let mut refused = 0;
    let misses = [
        missing,
        format!("/v2/{REPOSITORY}/manifests/none"),
        "/v2/other/image/manifests/1".to_owned(),
        format!("/v2/{REPOSITORY}/referrers/{}", docxy.image().digest()),
    ];
    for path in &misses {
        let begin = Instant::now();
        let answer = docxy.get(path).await;
        assert!(answer.status >= 400, "{path}: {}", answer.everything());
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{path} took {:?}",
            begin.elapsed()
        );
        refused += 1;
    }
    let ranged = Request::get(docxy.layer().1).header("Range", "bytes=10-");
    assert_eq!(docxy.send(ranged).await.status, 206);
    let asked = docxy.stub.connections() - before;
    println!(
        "offline = true: two pulls served, {refused} of {} misses refused, {asked} connections",
        misses.len()
    );
    assert_eq!(asked, 0, "{}", docxy.stub.story());
    let blob = docxy.layer().0;
    docxy.get(&blob_path(&blob)).await.assert_is(&blob, &docxy.stub);
}
