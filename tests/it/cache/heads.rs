//! containerd and newer dockerd look at a tag by HEAD and fetch what it names by digest: no GET of a tag tells docxy what to
//! keep for an outage.

use super::support::{Cached, TAG, image_of, word};
use crate::support::{image::Image, stub::On};

const QUICK: &str = "[cache]\nrevalidate_timeout = \"1s\"";

/// As containerd does it; the manifest alone.
async fn look_and_fetch(docxy: &Cached) {
    let head = docxy.head(TAG).await;
    let digest = head.header("docker-content-digest").expect("a digest").to_owned();
    assert_eq!(digest, docxy.image().root.digest);
    let by_digest = docxy.get(&by_digest(&docxy.image())).await;
    by_digest.assert_is(&docxy.image().root, &docxy.stub);
    docxy.stored(&docxy.image().root).await;
}

fn by_digest(image: &Image) -> String {
    format!("/v2/library/redis/manifests/{}", image.root.digest)
}

#[tokio::test]
async fn a_tag_that_was_looked_at_and_fetched_by_digest_is_served_offline() {
    // A cluster of containerd alone never asks for a tag by GET; it too must start during an outage.
    let docxy = Cached::of(image_of(240, &[1000]), QUICK).await;
    look_and_fetch(&docxy).await;
    assert!(
        docxy.stub.gets(TAG).is_empty(),
        "nobody fetched by tag: {}",
        docxy.stub.story()
    );
    docxy.stub.down().await;
    for answer in [docxy.head(TAG).await, docxy.get(TAG).await] {
        assert_eq!((answer.status, word(&answer).as_str()), (200, "stale"));
    }
    // Its record is a file: the next docxy knows too.
    let docxy = docxy.again().await;
    docxy.get(TAG).await.assert_is(&docxy.image().root, &docxy.stub);
}

#[tokio::test]
async fn a_tag_that_moved_and_was_only_looked_at_keeps_what_can_be_served() {
    // Watchers look at tags all day: a look must not cost the site the image that it could still start.
    let docxy = Cached::of(image_of(241, &[1000]), QUICK).await;
    look_and_fetch(&docxy).await;
    let old = docxy.image();
    docxy.stub.put("library/redis", "7", image_of(242, &[1000]));
    let new = docxy.image();
    let head = docxy.head(TAG).await;
    assert_eq!(
        head.header("docker-content-digest"),
        Some(new.root.digest.as_str())
    );
    docxy
        .stub
        .fault(On::path("*"), crate::support::stub::Fault::Status(503));
    docxy.get(TAG).await.assert_is(&old.root, &docxy.stub);

    // Once it is fetched, the tag means the new one.
    docxy.stub.clear_faults();
    look_and_fetch(&docxy).await;
    docxy.stub.down().await;
    docxy.get(TAG).await.assert_is(&new.root, &docxy.stub);
}
