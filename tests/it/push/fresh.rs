//! A tag that was pushed through docxy is what the next pull gets, whatever the rules of freshness say.

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::{
    real::world,
    recorder::{Reading, Recorder, Script},
    streams::open,
    uploads::{MANIFEST, image, put_manifest},
};
use crate::{
    clients::support::sandbox::Sandbox,
    support::{
        app::TestApp,
        client::{Request, Response},
        image::sha256,
    },
};

async fn pull(app: &TestApp, path: &str) -> Response {
    Request::get(path)
        .header("Accept", MANIFEST)
        .send(app.addr())
        .await
}

#[tokio::test]
async fn the_next_pull_sees_the_new_digest() {
    // Matters to every deployment: push, then roll out; an hour of the old image is an outage.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "\n[[cache.tags]]\nfresh = \"30d\"\n").await;
    let app = door.app();
    let repository = "registry.example.com/team/app";
    let path = format!("/v2/{repository}/manifests/latest");
    for seed in 1..4 {
        let digest = image(app.addr(), repository, "latest", seed).await;
        for turn in ["first", "second"] {
            let pulled = pull(app, &path).await;
            assert_eq!(pulled.status, 200, "{}", pulled.everything());
            assert_eq!(sha256(&pulled.body), digest, "push {seed}, {turn} pull");
            let expected = if turn == "first" { "miss" } else { "hit" };
            assert_eq!(pulled.header("x-cache"), Some(expected), "push {seed}");
        }
    }
    drop(upstream);
}

/// A registry whose one tag means what the test says; manifests are put as it is scripted.
async fn scripted(
    meaning: watch::Receiver<&'static str>,
    put: impl Fn() -> Script + Send + Sync + 'static,
) -> (Recorder, TestApp) {
    let stub = Recorder::start(move |head| {
        if head.method == "PUT" {
            return put();
        }
        let text = *meaning.borrow();
        Script::status(200)
            .header("Content-Type", MANIFEST)
            .header("Docker-Content-Digest", sha256(text.as_bytes()))
            .text(text)
    })
    .await;
    let app = TestApp::builder()
        .cache()
        .config(&stub.table("r.test", ""))
        .config("[timeouts]\nidle = \"1s\"\nheaders = \"1s\"\n[[cache.tags]]\nfresh = \"30d\"\n")
        .start()
        .await;
    (stub, app)
}

const OLD: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
const NEW: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"new":"yes"}}"#;
const PATH: &str = "/v2/r.test/team/app/manifests/1";

#[tokio::test]
async fn a_push_whose_end_nobody_saw_is_asked_about() {
    // The registry may have taken it before its answer was lost: the old digest must not be served unasked.
    let (moves, meaning) = watch::channel(OLD);
    let (stub, app) = scripted(meaning, || Script::status(201).reading(Reading::Forever)).await;
    assert_eq!(pull(&app, PATH).await.body, OLD.as_bytes());
    assert_eq!(pull(&app, PATH).await.header("x-cache"), Some("hit"));
    let lost = put_manifest(app.addr(), PATH, NEW.as_bytes()).await;
    assert_eq!(lost.status, 504, "{}", lost.everything());
    moves.send_replace(NEW);
    assert_eq!(pull(&app, PATH).await.body, NEW.as_bytes());
    assert_eq!(
        pull(&app, PATH).await.header("x-cache"),
        Some("hit"),
        "and once is enough"
    );
    drop(stub);
}

#[tokio::test]
async fn a_push_that_was_refused_changes_nothing() {
    // Whoever may not push must not make docxy forget what it serves: in an outage that would be everybody's loss.
    for status in [400, 401, 403, 404, 413] {
        let (_moves, meaning) = watch::channel(OLD);
        let (stub, app) = scripted(meaning, move || Script::status(status)).await;
        assert_eq!(pull(&app, PATH).await.body, OLD.as_bytes());
        let asked = stub.seen().len();
        let refused = put_manifest(app.addr(), PATH, NEW.as_bytes()).await;
        assert!((400..500).contains(&refused.status), "{}", refused.everything());
        assert_eq!(pull(&app, PATH).await.header("x-cache"), Some("hit"), "{status}");
        assert_eq!(stub.seen().len(), asked + 1, "{status}");
    }
}

#[tokio::test]
async fn a_push_that_its_client_breaks_off_changes_nothing() {
    // Whoever may not push breaks his own body: the registry never had a manifest, and the tag stays served from the cache.
    let (_moves, meaning) = watch::channel(OLD);
    let (stub, app) = scripted(meaning, || Script::status(403)).await;
    assert_eq!(pull(&app, PATH).await.body, OLD.as_bytes());
    let headers = format!("Content-Type: {MANIFEST}\r\nContent-Length: 1000\r\n");
    let mut stream = open(app.addr(), "PUT", PATH, &headers).await;
    stream.write_all(b"{").await.unwrap();
    stub.until("the first byte", |seen| {
        seen.iter().any(|one| one.method == "PUT" && one.received > 0)
    })
    .await;
    let asked = stub.seen().len();
    drop(stream);
    app.accessed("method", "PUT").await;
    assert_eq!(pull(&app, PATH).await.header("x-cache"), Some("hit"));
    assert_eq!(stub.seen().len(), asked);
}

#[tokio::test]
async fn a_deletion_whose_client_left_is_known_by_its_answer() {
    // Else anybody could make docxy doubt all tags of a repository, by leaving before the registry says no.
    let (_moves, meaning) = watch::channel(OLD);
    let (open_gate, gate) = watch::channel(false);
    let stub = Recorder::start(move |head| {
        if head.method == "DELETE" {
            return Script::status(403).reading(Reading::After(gate.clone()));
        }
        let text = *meaning.borrow();
        Script::status(200)
            .header("Content-Type", MANIFEST)
            .header("Docker-Content-Digest", sha256(text.as_bytes()))
            .text(text)
    })
    .await;
    let app = TestApp::builder()
        .cache()
        .config(&stub.table("r.test", ""))
        .config("[[cache.tags]]\nfresh = \"30d\"\n")
        .start()
        .await;
    assert_eq!(pull(&app, PATH).await.body, OLD.as_bytes());
    let digest = sha256(OLD.as_bytes());
    let stream = open(
        app.addr(),
        "DELETE",
        &format!("/v2/r.test/team/app/manifests/{digest}"),
        "",
    )
    .await;
    stub.until("the deletion", |seen| {
        seen.iter().any(|one| one.method == "DELETE")
    })
    .await;
    drop(stream);
    app.accessed("method", "DELETE").await;
    open_gate.send_replace(true);
    assert_eq!(pull(&app, PATH).await.header("x-cache"), Some("hit"));
}
