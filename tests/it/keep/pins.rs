//! Pins: what is kept whatever happens to the room.

use super::{get, run, run_in};
use crate::cache::support::{Cached, eventually, image_of};
use crate::support::stub::StubRegistry;

const MIB: usize = 1 << 20;

/// `redis:7` of 3 MiB, and so many others of 2 MiB, before a docxy whose cache has room for 8 MiB.
async fn small(others: u64) -> Cached {
    let stub = StubRegistry::builder().image("library/redis", "7", image_of(9100, &[2 * MIB, MIB]));
    let stub = (0..others).fold(stub, |stub, n| {
        stub.image(&format!("team/app-{n}"), "1", image_of(9110 + n, &[2 * MIB]))
    });
    Cached::start(stub, "[cache]\nmax_size = \"8MiB\"\n").await
}

async fn pull(docxy: &Cached, repository: &str) {
    let image = docxy.stub.image(repository, "1");
    let path = format!("/v2/{repository}/manifests/1");
    docxy.get(&path).await.assert_is(&image.root, &docxy.stub);
    for blob in &image.blobs {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest);
        docxy.get(&path).await.assert_is(blob, &docxy.stub);
        docxy.stored(blob).await;
    }
}

#[tokio::test]
async fn a_pinned_image_outlives_a_full_cache_a_restart_and_its_registry() {
    // The images that a cluster needs to come up again must be there on the day on which nothing else is.
    let docxy = small(6).await;
    docxy.warm().await;
    let said = run(&docxy.app, &["cache", "pin", "redis:7"]).await.well();
    assert!(
        said.out
            .contains("pinned docker.io/library/redis:7: 3.0 MiB, all of it stored"),
        "{}",
        said.out
    );
    for n in 0..3 {
        pull(&docxy, &format!("team/app-{n}")).await;
    }
    let docxy = docxy.again().await;
    for n in 3..6 {
        pull(&docxy, &format!("team/app-{n}")).await;
    }
    let first = docxy.stub.image("team/app-0", "1").blobs[1].clone();
    assert!(!docxy.folder().holds(&first.digest), "something had to go");
    let pins = get(&docxy.app, "/pins").await;
    let pin = &pins["pins"][0];
    let image = docxy.image();
    let bytes: usize = image
        .blobs
        .iter()
        .chain([&image.root])
        .map(|part| part.bytes.len())
        .sum();
    assert_eq!(pin["image"], "docker.io/library/redis:7");
    assert_eq!(
        (&pin["state"], &pin["stored_blobs"]),
        (&"whole".into(), &4.into())
    );
    assert_eq!(
        (&pin["stored_bytes"], &pins["bytes"]),
        (&bytes.into(), &bytes.into())
    );
    docxy.stub.down().await;
    docxy.pull_all().await;
}

#[tokio::test]
async fn what_is_pinned_is_not_removed_and_the_refusal_says_how_to_let_go() {
    // A slip, or a cleaning job, must not take what somebody keeps; and whoever means it must know how.
    let docxy = small(0).await;
    docxy.warm().await;
    run(&docxy.app, &["cache", "pin", "redis:7"]).await.well();
    let layer = docxy.layer().0.digest;
    for what in ["redis:7", "redis", &layer, "--all"] {
        let said = run(&docxy.app, &["cache", "rm", what]).await;
        assert_eq!(said.code, Some(1), "{what}: {}", said.out);
        assert!(
            said.out
                .contains("`docxy cache unpin docker.io/library/redis:7` lets go of it"),
            "{what}: {}",
            said.out
        );
    }
    docxy.stub.down().await;
    docxy.pull_all().await;
    // The same without docxy, on the folder alone.
    let ended = docxy.stop().await;
    let home = ended.folder().path().parent().unwrap().to_owned();
    let listed = run_in(&home, &["cache", "pins"]).await.well();
    assert!(
        listed.out.contains("docker.io/library/redis:7  all"),
        "{}",
        listed.out
    );
    assert_eq!(run_in(&home, &["cache", "rm", "--all"]).await.code, Some(1));
    run_in(&home, &["cache", "unpin", "redis:7"]).await.well();
    assert_eq!(run_in(&home, &["cache", "unpin", "redis:7"]).await.code, Some(1));
    run_in(&home, &["cache", "rm", "--all"]).await.well();
    assert!(ended.folder().blobs().is_empty());
}

#[tokio::test]
async fn a_pinned_tag_is_followed() {
    // Who pins redis:7 wants today's; who pins with --digest wants this one for ever.
    let docxy = small(0).await;
    docxy.warm().await;
    let old = docxy.image();
    run(&docxy.app, &["cache", "pin", "redis:7"]).await.well();
    let fixed = run(&docxy.app, &["cache", "pin", "--digest", "redis:7"])
        .await
        .well();
    assert!(
        fixed
            .out
            .contains(&format!("docker.io/library/redis@{}", old.root.digest)),
        "{}",
        fixed.out
    );
    let new = docxy.stub.put("library/redis", "7", image_of(9101, &[MIB]));
    docxy.warm().await;
    let is_held = |pins: &serde_json::Value, image: &str, digest: &str| {
        let pins = pins["pins"].as_array().unwrap();
        let pin = pins.iter().find(|pin| pin["image"] == image).unwrap();
        pin["digests"] == serde_json::json!([digest]) && pin["state"] == "whole"
    };
    let pins = get(&docxy.app, "/pins").await;
    assert!(
        is_held(&pins, "docker.io/library/redis:7", &new.root.digest),
        "{pins}"
    );
    let by_digest = format!("docker.io/library/redis@{}", old.root.digest);
    assert!(is_held(&pins, &by_digest, &old.root.digest), "{pins}");
    run(&docxy.app, &["cache", "unpin", &by_digest]).await.well();
    run(&docxy.app, &["cache", "rm", &old.layer_blobs()[0].digest])
        .await
        .well();
}

#[tokio::test]
async fn more_than_nine_tenths_are_not_pinned() {
    // A cache in which nothing may go fetches every new image past itself, for ever.
    let docxy = small(3).await;
    docxy.warm().await;
    for n in 0..2 {
        pull(&docxy, &format!("team/app-{n}")).await;
    }
    run(
        &docxy.app,
        &["cache", "pin", "redis:7", "team/app-0:1", "team/app-1:1"],
    )
    .await
    .well();
    // There is no room for its layer: it goes past the cache.
    let image = docxy.stub.image("team/app-2", "1");
    let path = "/v2/team/app-2/manifests/1";
    docxy.get(path).await.assert_is(&image.root, &docxy.stub);
    docxy.stored(&image.root).await;
    let said = run(&docxy.app, &["cache", "pin", "team/app-2:1"]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nine tenths of cache.max_size"), "{}", said.err);
    let folder = docxy.folder();
    eventually("the cache to be within its cap", || {
        folder.usage().content <= 8 << 20
    })
    .await;
    assert_eq!(
        get(&docxy.app, "/pins").await["pins"].as_array().unwrap().len(),
        3
    );
}

#[tokio::test]
async fn a_hundred_images_with_long_names_are_one_call() {
    // A cluster's list names images by digest, and its registry's names are as long as its teams like.
    let docxy = Cached::start(StubRegistry::builder(), "").await;
    let file = docxy.app.dir().join("images");
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image = |n: usize| format!("registry.example.com/{}/app-{n}@{digest}\n", "team".repeat(50));
    std::fs::write(&file, (0..150).map(image).collect::<String>()).unwrap();
    let file = file.to_str().unwrap();
    let said = run(&docxy.app, &["cache", "pin", "--file", file]).await.well();
    assert_eq!(said.out.lines().count(), 150);
    let said = run(&docxy.app, &["cache", "unpin", "--file", file]).await.well();
    assert_eq!(said.out.lines().count(), 150);
}
