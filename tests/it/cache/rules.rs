//! C6: what a rule says about denials and removals holds for every pull after the first one, and `offline` for HEAD too.

use super::support::{Cached, REPOSITORY, TAG, image_of, word};
use crate::support::{
    client::Request,
    image::sha256,
    stub::{Auth, Fault, On, StubRegistry},
};

const ALL: &str =
    "[[cache.tags]]\nstale = [\"connect\", \"timeout\", \"5xx\", \"429\", \"denied\", \"missing\"]\n";

#[tokio::test]
async fn a_removed_tag_is_served_as_long_as_its_rule_says() {
    // Whoever keeps what registries take away needs it at every pull, and after a restart, not once.
    let docxy = Cached::of(image_of(320, &[1000]), ALL).await;
    docxy.warm().await;
    let image = docxy.image();
    for status in [404, 410, 451] {
        docxy.stub.clear_faults();
        docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
        docxy.stub.fault(On::path("*/manifests/*"), Fault::Status(status));
        for _ in 0..3 {
            let answer = docxy.get(TAG).await;
            answer.assert_is(&image.root, &docxy.stub);
            assert_eq!(word(&answer), "stale");
        }
    }
    let docxy = docxy.again().await;
    docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
    docxy.stub.down().await;
    docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
}

#[tokio::test]
async fn a_removed_tag_stays_removed_in_an_outage() {
    // By default a removal is believed; that the registry fails afterwards does not take the word back.
    let docxy = Cached::of(image_of(321, &[1000]), "").await;
    docxy.warm().await;
    docxy.stub.untag(REPOSITORY, "7");
    assert_eq!(docxy.get(TAG).await.status, 404);
    docxy.stub.fault(On::path("/v2/*"), Fault::Status(503));
    assert!(docxy.get(TAG).await.status >= 500);
}

#[tokio::test]
async fn a_denial_is_outlived_as_long_as_the_rule_says() {
    // The operator's own credential expired: with "denied" in the rule his cluster pulls on, every time.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .private(REPOSITORY, &["alice"])
        .image(REPOSITORY, "7", image_of(322, &[1000]))
        .start()
        .await;
    let docxy = Cached::built(stub, |app| {
        app.configured("docker.io", "alice", "alice-password").config(ALL)
    })
    .await;
    docxy.warm().await;
    let image = docxy.image();
    for status in [401, 403] {
        docxy.stub.clear_faults();
        docxy.stub.fault(On::path("/v2/*"), Fault::Status(status));
        for _ in 0..3 {
            let answer = docxy.get(TAG).await;
            answer.assert_is(&image.root, &docxy.stub);
            assert_eq!(word(&answer), "stale");
            docxy.pull_all().await;
        }
    }
}

#[tokio::test]
async fn offline_asks_nobody_for_a_head_either() {
    // Clients look with HEAD before they pull: that must not leave the aeroplane.
    let docxy = Cached::of(image_of(324, &[1000]), "").await;
    docxy.warm().await;
    let docxy = docxy.stop().await.start_with("[cache]\noffline = true").await;
    docxy.stub.forget();
    let before = docxy.stub.connections();
    for path in [
        format!("/v2/{REPOSITORY}/blobs/{}", sha256(b"missing")),
        format!("/v2/{REPOSITORY}/manifests/{}", sha256(b"missing")),
        format!("/v2/{REPOSITORY}/manifests/none"),
        format!("/v2/{REPOSITORY}/tags/list"),
        "/v2/other/image/manifests/1".to_owned(),
        "/v2/_catalog".to_owned(),
    ] {
        let answer = docxy.head(&path).await;
        assert!(answer.status >= 400, "{path}: {}", answer.everything());
        let answer = docxy.send(Request::get(&*path)).await;
        assert!(answer.status >= 400, "{path}: {}", answer.everything());
    }
    assert_eq!(docxy.head(&docxy.layer().1).await.status, 200);
    assert_eq!(docxy.stub.connections() - before, 0, "{}", docxy.stub.story());
}
