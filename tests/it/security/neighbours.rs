//! A hostile registry that an operator configured beside others: whatever it answers, it opens, delays and spoils nothing of
//! theirs (S4, S5, S16).

use std::time::Duration;

use crate::cache::{
    rights::{PRIVATE, contents, leaked, pull, registry, secret_image},
    support::{Cached, blob_path, eventually, image_of},
};
use crate::support::{
    image::Content,
    stub::{Fault, Gate, On, StubRegistry},
};

async fn beside(good: StubRegistry, evil: &StubRegistry) -> Cached {
    let table = format!(
        "[registries.\"evil.test\"]\nurls = [{:?}]\nallow_private_addresses = true\n",
        evil.url()
    );
    Cached::built(good, move |app| app.config(&table)).await
}

/// 200, with every header that a registry which has it would send, and other bytes.
fn claims(content: &Content) -> Fault {
    Fault::Answer {
        status: 200,
        headers: vec![
            ("docker-content-digest", content.digest.clone()),
            ("content-type", content.media_type.clone()),
        ],
        body: "x".repeat(content.bytes.len()),
    }
}

#[tokio::test]
async fn a_registry_that_claims_anothers_digests_opens_nothing() {
    // Who runs a registry can have it say "I have that" to any digest. Its word is not worth the bytes of another registry's
    // private image, by digest or by a tag.
    let secret = secret_image();
    let evil = StubRegistry::builder().start().await;
    let docxy = beside(registry(&secret).await, &evil).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    let (mut tried, mut bytes) = (0, 0);
    for content in contents(&secret) {
        evil.clear_faults();
        evil.fault(On::path("/v2/any/thing/*"), claims(&content));
        for kind in ["manifests", "blobs"] {
            let path = format!("/v2/evil.test/any/thing/{kind}/{}", content.digest);
            for range in [None, Some("bytes=0-63")] {
                let answer = match range {
                    None => docxy.get(&path).await,
                    Some(range) => docxy.client().ranged(&path, range).await,
                };
                tried += 1;
                bytes += leaked(&answer, &content);
            }
        }
        let answer = docxy.get("/v2/evil.test/any/thing/manifests/latest").await;
        tried += 1;
        bytes += leaked(&answer, &content);
    }
    println!("S5 a registry that claims another's private image: {bytes} bytes in {tried} requests");
    assert_eq!(bytes, 0);
    assert!(tried >= 20, "{tried}");
}

#[tokio::test]
async fn a_registry_that_stalls_holds_up_nobody_elses_clients() {
    // The digests of public layers are known to everyone: whoever gets one registry to send such a layer very slowly must not
    // stop it from coming from all others.
    let image = image_of(501, &[400_000]);
    let layer = image.blobs[1].clone();
    let evil = StubRegistry::builder()
        .image("any/thing", "1", image.clone())
        .start()
        .await;
    let gate = Gate::after(100_000);
    evil.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let good = StubRegistry::builder().image("library/redis", "7", image);
    let docxy = beside(good.start().await, &evil).await;
    let stalled = tokio::spawn({
        let (client, path) = (
            docxy.client(),
            format!("/v2/evil.test/any/thing/blobs/{}", layer.digest),
        );
        async move { client.get(&path).await }
    });
    gate.held().await;
    let path = blob_path(&layer);
    let answer = tokio::time::timeout(Duration::from_secs(5), docxy.get(&path)).await;
    answer.expect("not held up").assert_is(&layer, &docxy.stub);
    gate.open();
    stalled.await.unwrap().assert_is(&layer, &evil);
}

#[tokio::test]
async fn what_a_registry_left_unfinished_spoils_nobody_elses_blob() {
    // Wrong bytes, and then none: the next download of the same digest, from another registry, begins with its own.
    let image = image_of(502, &[600_000]);
    let layer = image.blobs[1].clone();
    let evil = StubRegistry::builder()
        .image("any/thing", "1", image.clone())
        .start()
        .await;
    let wrong = Fault::All(vec![Fault::WrongByteAt(10), Fault::CutAt(300_000)]);
    evil.fault(On::get("*/blobs/*").nth(1), wrong);
    evil.fault(On::get("*/blobs/*").after(1), Fault::Status(404));
    let good = StubRegistry::builder().image("library/redis", "7", image);
    let docxy = beside(good.start().await, &evil).await;
    let path = format!("/v2/evil.test/any/thing/blobs/{}", layer.digest);
    let broken = docxy.get(&path).await;
    assert!(!broken.complete, "{}", broken.status);
    let folder = docxy.folder();
    eventually("a rest", || !folder.partials().is_empty()).await;
    docxy.get(&blob_path(&layer)).await.assert_is(&layer, &docxy.stub);
}

#[tokio::test]
async fn the_rest_of_a_private_download_is_not_read_through_another_registry() {
    // Half a private layer lies there. Another registry says that it has the other half.
    let secret = secret_image();
    let layer = image_of(503, &[600_000]).blobs[1].clone();
    let good = registry(&secret).await;
    good.put(PRIVATE, "big", image_of(503, &[600_000]));
    let evil = StubRegistry::builder().start().await;
    let docxy = beside(good, &evil).await;
    let path = format!("/v2/{PRIVATE}/blobs/{}", layer.digest);
    docxy.stub.fault(On::get(&path).first(1), Fault::CutAt(300_000));
    docxy.stub.fault(On::get(&path).after(1), Fault::Status(404));
    let alice = docxy.client().login("alice", "alice-password");
    let alice = alice.signed_in(&format!("repository:{PRIVATE}:pull")).await;
    assert!(!alice.get(&path).await.complete);
    let folder = docxy.folder();
    eventually("a rest", || !folder.partials().is_empty()).await;
    evil.fault(
        On::get("*/blobs/*"),
        Fault::Answer {
            status: 206,
            headers: vec![("content-range", "bytes 300000-599999/600000".to_owned())],
            body: "x".repeat(300_000),
        },
    );
    let path = format!("/v2/evil.test/any/thing/blobs/{}", layer.digest);
    for range in ["bytes=0-99999", "bytes=0-"] {
        let answer = docxy.client().ranged(&path, range).await;
        assert_eq!(leaked(&answer, &layer), 0, "{}", answer.status);
    }
}
