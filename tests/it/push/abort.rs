//! Clients that leave in the middle of a push.

use tokio::io::AsyncWriteExt as _;

use super::{
    recorder::{Reading, Recorder, Script, begun},
    streams::open,
    uploads::begin,
};
use crate::support::app::TestApp;

async fn world(then: impl Fn() -> Script + Send + Sync + 'static) -> (Recorder, TestApp) {
    let stub = Recorder::start(move |head| match head.method.as_str() {
        "POST" => begun("/upload"),
        _ => then(),
    })
    .await;
    let app = TestApp::builder().config(&stub.table("r.test", "")).start().await;
    (stub, app)
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_upload_along() {
    // A build that was cancelled must not hang on to the registry's connections, nor look like a whole blob there.
    for headers in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (stub, app) = world(|| Script::status(201)).await;
        let at = begin(app.addr(), "r.test/team/app", "").await;
        let mut stream = open(app.addr(), "PATCH", &at, headers).await;
        stream.write_all(b"5\r\n12345\r\n").await.unwrap();
        stub.until("the first bytes", |seen| {
            seen.get(1).is_some_and(|one| one.received > 0)
        })
        .await;
        drop(stream);
        stub.until_closed().await;
        assert!(!stub.seen()[1].whole, "{headers}: {:?}", stub.seen()[1]);
        let line = app.accessed("method", "PATCH").await;
        let left = line["ended"] == "left-before-answer" || line["outcome"] == "failed-client";
        assert!(left, "{line}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_registry_thinks_leaves_nothing_behind() {
    // Nothing waits for an answer that nobody wants.
    let (stub, app) = world(|| Script::status(201).reading(Reading::Forever)).await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let mut stream = open(app.addr(), "PATCH", &at, "Content-Length: 5\r\n").await;
    stream.write_all(b"12345").await.unwrap();
    stub.until("the whole body", |seen| seen.get(1).is_some_and(|one| one.whole))
        .await;
    drop(stream);
    stub.until_closed().await;
}
