//! What is stored of it: fresh or stale, whole or partly, pinned, and what goes next.

use super::{explained, says, trial};
use crate::admin::{ask, json, socket};
use crate::cache::support::{Cached, REPOSITORY, TAG, blob_path, image_of};
use crate::keep::run;
use crate::support::{image::Image, stub::StubRegistry};

const IMAGE: (&str, &str) = ("image", "docker.io/library/redis:7");
const RULE: &str = "[[cache.tags]]\nrepository = \"library/*\"\nfresh = \"1h\"\n";

#[tokio::test]
async fn public_and_fresh() {
    // The usual case, and the first thing that an operator looks up: who may have it, until when, and from where.
    let docxy = Cached::of(image_of(801, &[1000, 2000]), RULE).await;
    docxy.warm().await;
    let told = trial(&docxy.app, &docxy.stub, IMAGE.1, TAG);
    let told = told.comes("hit", "fresh by its rule").await;
    assert_eq!(told["entitlement"]["by"], "public", "{told:#}");
    assert!(told["public_since"].as_u64().unwrap() < 60, "{told:#}");
    assert_eq!(told["freshness"]["state"], "fresh", "{told:#}");
    assert_eq!(told["freshness"]["rule"], 1, "{told:#}");
    let fresh = told["freshness"]["fresh_for"].as_u64().unwrap();
    assert!((3500..=3600).contains(&fresh), "{told:#}");
    let stored = &told["stored"];
    assert_eq!(stored["digest"], docxy.image().digest(), "{told:#}");
    assert_eq!(stored["blobs"], 4, "{told:#}");
    assert_eq!(stored["stored_blobs"], 4, "{told:#}");
    assert_eq!(stored["bytes"], stored["stored_bytes"], "{told:#}");
}

#[tokio::test]
async fn public_and_stale_while_the_registry_is_down() {
    // At night the operator asks why people get an old image, and for how long that goes on.
    let docxy = Cached::of(image_of(802, &[1000]), "").await;
    docxy.warm().await;
    let well = trial(&docxy.app, &docxy.stub, IMAGE.1, TAG);
    well.comes("revalidated", "one small request").await;
    docxy.stub.down().await;
    let answer = docxy.get(TAG).await;
    assert_eq!(crate::cache::support::word(&answer), "stale");
    let told = trial(&docxy.app, &docxy.stub, IMAGE.1, TAG);
    let told = told.comes("stale", "can't be reached").await;
    assert_eq!(told["registry_answers"], false, "{told:#}");
    assert_eq!(told["upstream"]["urls"][0]["health"], "unreachable", "{told:#}");
    assert!(told["freshness"]["rule"].is_null(), "{told:#}");
    assert_eq!(
        told["freshness"]["stale_after"],
        serde_json::json!(["connect", "timeout", "5xx", "429"]),
        "{told:#}"
    );
    let left = told["freshness"]["stale_for"].as_u64().unwrap();
    assert!((29 * 86_400..=30 * 86_400).contains(&left), "{told:#}");
    let missing = "/v2/library/redis/manifests/8";
    let missing = trial(&docxy.app, &docxy.stub, "docker.io/library/redis:8", missing);
    missing.comes("failed-upstream", "can't be reached").await;
}

#[tokio::test]
async fn partly_stored_and_for_which_platforms() {
    // Before a line is cut somebody asks whether all of an image is here, for all the machines that need it.
    let image = Image::layers(2)
        .oci()
        .seed(803)
        .platforms(&["amd64", "arm64"])
        .build();
    let docxy = Cached::start(StubRegistry::builder().image(REPOSITORY, "7", image.clone()), "").await;
    docxy.get(TAG).await;
    let amd64 = &image.children[0];
    docxy
        .get(&format!("/v2/{REPOSITORY}/manifests/{}", amd64.digest))
        .await;
    for content in [&image.root, amd64] {
        docxy.stored(content).await;
    }
    let manifest: serde_json::Value = serde_json::from_slice(&amd64.bytes).unwrap();
    let of_amd64 = |digest: &str| manifest.to_string().contains(digest);
    for blob in image.blobs.iter().filter(|blob| of_amd64(&blob.digest)) {
        docxy.get(&blob_path(blob)).await;
        docxy.stored(blob).await;
    }
    let told = explained(&docxy.app, &docxy.stub, &[IMAGE]).await;
    let stored = &told["stored"];
    let platforms = &stored["platforms"];
    assert_eq!(platforms[0]["platform"], "linux/amd64", "{told:#}");
    assert_eq!(platforms[0]["blobs"], platforms[0]["stored_blobs"], "{told:#}");
    assert_eq!(platforms[0]["known"], true, "{told:#}");
    assert_eq!(platforms[1]["platform"], "linux/arm64", "{told:#}");
    assert_eq!(platforms[1]["known"], false, "{told:#}");
    assert_eq!(stored["whole"], false, "{told:#}");
    assert!(
        stored["stored_bytes"].as_u64() < stored["bytes"].as_u64(),
        "{told:#}"
    );
}

#[tokio::test]
async fn pinned_and_by_what() {
    // Who wonders why an old image never goes is told which pin keeps it.
    let docxy = Cached::of(image_of(804, &[1000]), "").await;
    docxy.warm().await;
    let unpinned = explained(&docxy.app, &docxy.stub, &[IMAGE]).await;
    assert_eq!(unpinned["stored"]["pins"], serde_json::json!([]), "{unpinned:#}");
    assert!(unpinned["stored"]["next"]["number"].is_u64(), "{unpinned:#}");
    let by_digest = format!("redis@{}", docxy.image().digest());
    run(&docxy.app, &["cache", "pin", &by_digest]).await.well();
    // A pin outlives the process that was told of it.
    let docxy = docxy.again().await;
    let told = explained(&docxy.app, &docxy.stub, &[IMAGE]).await;
    says(&told, "/stored/pins/0", docxy.image().digest());
    assert!(told["stored"]["next"].is_null(), "{told:#}");
    assert_eq!(told["eviction"]["held"]["blobs"], 3, "{told:#}");
    assert_eq!(told["eviction"]["going"], serde_json::json!([]), "{told:#}");
}

#[tokio::test]
async fn what_goes_next_is_what_goes() {
    // A forecast that is wrong is worse than none: what it names first is gone after the next blob that needs the room.
    let docxy = Cached::of(
        image_of(805, &[2_000_000, 2_000_000, 2_000_000]),
        "[cache]\nmax_size = \"8MiB\"",
    )
    .await;
    docxy.warm().await;
    docxy.stub.put("library/other", "1", image_of(806, &[3_000_000]));
    let told = explained(&docxy.app, &docxy.stub, &[IMAGE]).await;
    let next = &told["eviction"];
    assert_eq!(next["limit"], 8 << 20, "{told:#}");
    assert!(next["room"].as_u64().unwrap() < 3_000_000, "{told:#}");
    let going = next["going"].as_array().unwrap();
    assert!(!going.is_empty() && going.len() <= 5, "{told:#}");
    assert_eq!(going[0]["why"], "once", "{told:#}");
    assert_eq!(going[0]["before"], 0, "{told:#}");
    assert_eq!(told["stored"]["next"]["number"], 1, "{told:#}");
    let first = going[0]["digest"].as_str().unwrap().to_owned();
    let other = docxy.stub.image("library/other", "1");
    docxy.get("/v2/library/other/manifests/1").await;
    let layer = other.layer_blobs()[0];
    docxy
        .get(&format!("/v2/library/other/blobs/{}", layer.digest))
        .await;
    docxy.stored(layer).await;
    let gone = ask(
        &socket(&docxy.app),
        "GET",
        &format!("/api/v1/cache/blobs/{first}"),
        "",
    )
    .await;
    assert_eq!(gone.status(), 404, "{}", json(&gone));
}
