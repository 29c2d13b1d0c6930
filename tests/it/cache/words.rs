//! One word says how each request went, in `X-Cache` and in the access log alike: whoever asks "why was this slow" reads it.

use serde_json::Value;

use super::support::{Cached, Over, TAG, image_of, word};
use crate::support::{
    client::Request,
    stub::{Fault, Gate, On},
};

/// The words of the access log for requests of this kind, oldest first.
fn logged(docxy: &Cached, kind: &str) -> Vec<String> {
    let lines = docxy.app.log();
    let of = |line: &Value| {
        let fields = &line["fields"];
        let own = fields["message"] == "request" && fields["kind"] == kind;
        own.then(|| fields["outcome"].as_str().unwrap_or_default().to_owned())
    };
    lines.iter().filter_map(of).collect()
}

#[tokio::test]
async fn each_way_has_its_word() {
    // Miss, joined, hit, revalidated, stale: header and log agree.
    let docxy = Cached::of(
        image_of(210, &[400_000]),
        "[cache]\nrevalidate_timeout = \"500ms\"",
    )
    .await;
    let (layer, path) = docxy.layer();
    let mut said = Vec::new();

    let gate = Gate::after(100_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut first = Request::get(&*path).open(docxy.app.addr()).await;
    gate.held().await;
    let second = Request::get(&*path).open(docxy.app.addr()).await;
    let of =
        |open: &crate::support::client::Open| open.headers["x-cache"].to_str().unwrap().to_ascii_lowercase();
    said.push(("first ask of a blob", of(&first), "miss"));
    said.push(("asked while it arrives", of(&second), "joined"));
    gate.open();
    first.rest().await;
    drop(second);
    docxy.stored(&layer).await;
    let hit = Over::Http1.get(docxy.app.addr(), &path, None).await;
    said.push(("stored", word(&hit), "hit"));
    let part = Over::Http2.get(docxy.app.addr(), &path, Some("bytes=5-")).await;
    said.push(("a part of it", word(&part), "hit"));

    said.push(("first ask of a tag", word(&docxy.get(TAG).await), "miss"));
    docxy.stored(&docxy.image().root).await;
    said.push(("asked again", word(&docxy.get(TAG).await), "revalidated"));
    said.push(("HEAD", word(&docxy.head(TAG).await), "revalidated"));
    docxy.stub.down().await;
    said.push(("upstream down", word(&docxy.get(TAG).await), "stale"));
    let by_digest = format!("/v2/library/redis/manifests/{}", docxy.image().digest());
    said.push(("by digest", word(&docxy.get(&by_digest).await), "hit"));
    for (when, got, expected) in &said {
        println!("X-Cache, {when}: {got}");
        assert_eq!(got, expected, "{when}");
    }
    let missing = docxy.get("/v2/library/redis/manifests/none").await;
    assert_eq!(missing.header("x-cache"), None, "on successes only");

    // The line of a request is written when its body has ended.
    docxy.app.accessed("outcome", "stale").await;
    for word in ["miss", "joined", "hit", "revalidated", "stale"] {
        docxy.app.accessed("outcome", word).await;
    }
    println!(
        "access log: {:?} {:?}",
        logged(&docxy, "blob"),
        logged(&docxy, "manifest")
    );
}

#[tokio::test]
async fn an_answer_to_head_is_whole() {
    // Clients ask HEAD before each pull: a log in which they all leave early hides the one that did.
    let docxy = Cached::of(image_of(214, &[1000]), "").await;
    for path in [TAG.to_owned(), docxy.layer().1] {
        assert_eq!(docxy.head(&path).await.status, 200);
    }
    for kind in ["manifest", "blob"] {
        let line = docxy.app.accessed("kind", kind).await;
        assert_eq!(
            (&line["method"], &line["ended"]),
            (&"HEAD".into(), &"whole".into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn without_a_cache_nothing_is_kept_and_the_word_is_bypass() {
    // `mode = "off"` is pure forwarding.
    let docxy = Cached::of(image_of(211, &[1000]), "[cache]\nmode = \"off\"").await;
    let (layer, path) = docxy.layer();
    for _ in 0..2 {
        docxy.get(&path).await.assert_is(&layer, &docxy.stub);
    }
    assert_eq!(docxy.stub.gets("*/blobs/*").len(), 2);
    assert!(docxy.folder().files().is_empty());
    docxy.app.accessed("outcome", "bypass").await;
}

#[tokio::test]
async fn figures_are_not_for_clients() {
    // `/metrics` on a client port would tell anyone what others pull.
    let docxy = Cached::of(image_of(212, &[1000]), "").await;
    docxy.pull_all().await;
    let answer = docxy.get("/metrics").await;
    assert!(answer.status >= 400, "{}", answer.everything());
}

#[tokio::test]
async fn figures_are_on_the_listener_that_was_set_for_them() {
    // An operator's Prometheus: hits, misses and the cache's size move with the pulls.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let docxy = Cached::of(
        image_of(213, &[100_000]),
        &format!("metrics_listen = [\"{free}\"]"),
    )
    .await;
    docxy.warm().await;
    docxy.pull_all().await;
    let answer = Request::get("/metrics").send(free).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    for expected in [
        "outcome=\"hit\"",
        "outcome=\"miss\"",
        "outcome=\"revalidated\"",
        "docxy_cache_",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    for path in ["/v2/", TAG, "/livez"] {
        assert_eq!(Request::get(path).send(free).await.status, 404, "{path}");
    }
}
