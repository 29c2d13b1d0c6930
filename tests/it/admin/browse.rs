//! Looking around in the cache.

use serde_json::{Value, json};

use super::listener::Administered;
use crate::cache::support::Cached;
use crate::support::stub::StubRegistry;
use crate::{admin::listener::LISTEN, cache::support::image_of};

/// Every page of a list.
async fn all(docxy: &Administered, target: &str, key: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let page = docxy.get(&format!("{target}{next}")).await;
        let entries = page[key].as_array().unwrap();
        assert!(entries.len() <= 2, "{page}");
        found.extend(entries.iter().cloned());
        match page["next"].as_str() {
            Some(after) => next = format!("&after={after}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_person_finds_the_way_from_a_registry_to_a_blob() {
    // What takes the room, who gave it, when it was last used: without a shell on the machine.
    let image = image_of(750, &[1000, 2000]);
    let stub = StubRegistry::builder()
        .image("library/redis", "7", image.clone())
        .image("library/redis", "latest", image.clone())
        .image("team/app", "1", image_of(751, &[500]))
        .start()
        .await;
    let docxy = Administered::of(Cached::built(stub, |app| app.config(LISTEN)).await).await;
    for (repository, tag) in [("library/redis", "latest"), ("team/app", "1")] {
        let path = format!("/v2/{repository}/manifests/{tag}");
        assert_eq!(docxy.docxy.get(&path).await.status, 200);
    }
    let registries = docxy.get("/api/v1/cache/registries").await;
    let hub = &registries["registries"][0];
    assert_eq!(hub["registry"], "docker.io");
    assert_eq!(
        (&hub["repositories"], &hub["public_repositories"], &hub["tags"]),
        (&json!(2), &json!(2), &json!(3))
    );
    let repositories = all(&docxy, "/api/v1/cache/repositories?limit=1", "repositories").await;
    let names: Vec<_> = repositories
        .iter()
        .map(|one| one["repository"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["docker.io/library/redis", "docker.io/team/app"]);
    let redis = &repositories[0];
    assert_eq!(
        (&redis["tags"], &redis["manifests"], &redis["blobs"]),
        (&json!(2), &json!(1), &json!(4))
    );
    assert_eq!((&redis["public"], &redis["pinned"]), (&json!(true), &json!(0)));
    assert!(
        redis["unused"].as_u64().unwrap() < 60 && redis["bytes"].as_u64().unwrap() > 3000,
        "{redis}"
    );
    let found = docxy
        .get("/api/v1/cache/repositories?containing=team&registry=docker.io")
        .await;
    assert_eq!(found["repositories"].as_array().unwrap().len(), 1, "{found}");
    let nothing = docxy.get("/api/v1/cache/repositories?registry=ghcr.io").await;
    assert_eq!(nothing, json!({ "repositories": [], "next": null }));

    let tags = all(
        &docxy,
        "/api/v1/cache/tags?repository=docker.io/library/redis&limit=1",
        "tags",
    )
    .await;
    let names: Vec<_> = tags.iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert_eq!(names, ["7", "latest"]);
    assert_eq!(tags[0]["digest"], image.root.digest.as_str());
    assert_eq!(tags[0]["size"], image.root.bytes.len());
    let blobs = all(
        &docxy,
        "/api/v1/cache/blobs?repository=docker.io/library/redis&limit=2",
        "blobs",
    )
    .await;
    assert_eq!(blobs.len(), 4);
    let manifests: Vec<_> = blobs
        .iter()
        .filter(|blob| blob["media_type"].is_string())
        .collect();
    assert_eq!(manifests.len(), 1);
    assert_eq!(
        manifests[0]["tags"],
        json!(["docker.io/library/redis:7", "docker.io/library/redis:latest"])
    );

    let target = format!("/api/v1/cache/blobs/{}", image.blobs[0].digest);
    let blob = docxy.get(&target).await;
    assert_eq!(blob["repositories"], json!(["docker.io/library/redis"]));
    let gone = docxy.request("DELETE", &target).send(docxy.to).await;
    assert_eq!(
        (gone.status, &gone.json()["blobs"]),
        (200, &json!(1)),
        "{}",
        gone.text()
    );
    let missing = docxy.request("GET", &target).send(docxy.to).await;
    assert_eq!(
        (missing.status, &missing.json()["error"]["code"]),
        (404, &json!("not_stored"))
    );
}
