//! S5: a manifest's descriptors are claims. Anyone can push one that names another's layer, configuration or image: it opens
//! nothing.

use serde_json::json;

use super::{
    rights::{PRIVATE, contents, leaked, pull, registry, secret_image},
    support::Cached,
};
use crate::support::{
    image::{Content, Image, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, noise},
    puller::Puller,
};

/// An index and a manifest of somebody else's that name everything of the private image.
fn claims(secret: &Image) -> Image {
    let child = &secret.children[0];
    let layers: Vec<_> = secret.blobs[1..].iter().map(Content::descriptor).collect();
    let manifest = Content::new(
        OCI_MANIFEST,
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": secret.blobs[0].descriptor(), "layers": layers })
            .to_string(),
    );
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [child.descriptor(), secret.root.descriptor(), manifest.descriptor()],
    });
    Image {
        root: Content::new(OCI_INDEX, index.to_string()),
        children: vec![manifest],
        blobs: Vec::new(),
    }
}

async fn warmed(claimed_in: &[&str]) -> (Cached, Image) {
    let secret = secret_image();
    let stub = registry(&secret).await;
    for repository in claimed_in {
        stub.put(repository, "claim", claims(&secret));
    }
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"";
    let docxy = Cached::built(stub, move |app| app.config(config)).await;
    pull(
        &docxy,
        &docxy.client().login("alice", "alice-password"),
        PRIVATE,
        "1",
    )
    .await;
    (docxy, secret)
}

/// Counts what of the private image comes through another repository.
async fn through(who: &Puller, repository: &str, secret: &Image) -> (usize, usize) {
    let (mut tried, mut bytes) = (0, 0);
    for content in contents(secret) {
        for kind in ["manifests", "blobs"] {
            for method in ["GET", "HEAD"] {
                let path = format!("/v2/{repository}/{kind}/{}", content.digest);
                let answer = who.send(method, &path).await;
                tried += 1;
                if matches!(answer.status, 200 | 206) || leaked(&answer, &content) > 0 {
                    println!("{method} {path}: {} {} bytes", answer.status, answer.body.len());
                    bytes += answer.body.len().max(1);
                }
            }
            let path = format!("/v2/{repository}/{kind}/{}", content.digest);
            let answer = who.ranged(&path, "bytes=0-63").await;
            tried += 1;
            if matches!(answer.status, 200 | 206) {
                println!("{path} with a range: {}", answer.status);
                bytes += answer.body.len().max(1);
            }
        }
    }
    (tried, bytes)
}

#[tokio::test]
async fn naming_anothers_digests_opens_nothing() {
    // A public repository and bob's own, each with an index and a manifest that name alice's image; asked before and after the
    // claims are pulled, with the upstream up and down.
    let (docxy, secret) = warmed(&["evil/public", "bob/own"]).await;
    let nobody = docxy.client();
    let bob = docxy.client().login("bob", "bob-password");
    let askers = [
        (&nobody, "evil/public"),
        (&bob, "evil/public"),
        (&bob, "bob/own"),
        (&nobody, "library/redis"),
    ];
    let (mut tried, mut bytes) = (0, 0);
    for round in ["before", "after", "down"] {
        if round == "after" {
            for (who, repository) in &askers[..3] {
                let image = docxy.stub.image(repository, "claim");
                let tag = format!("/v2/{repository}/manifests/claim");
                who.get(&tag).await.assert_is(&image.root, &docxy.stub);
                let child = format!("/v2/{repository}/manifests/{}", image.children[0].digest);
                who.get(&child).await.assert_is(&image.children[0], &docxy.stub);
            }
        }
        if round == "down" {
            docxy.stub.down().await;
        }
        for (who, repository) in askers {
            let found = through(who, repository, &secret).await;
            tried += found.0;
            bytes += found.1;
        }
    }
    println!("S5 a private image named by others' manifests: {bytes} bytes in {tried} requests");
    assert_eq!(bytes, 0);
}

#[tokio::test]
async fn a_blob_in_two_repositories_is_asked_for_in_each_and_stored_once() {
    // One copy on disk (C2), and the upstream's own word for each repository.
    let layer = Content::new(OCI_LAYER, noise(190, 50_000));
    let with = |name: &str| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "name": name, "layers": [layer.descriptor()],
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": layer.digest },
        });
        Image {
            root: Content::new(OCI_MANIFEST, manifest.to_string()),
            children: Vec::new(),
            blobs: vec![layer.clone()],
        }
    };
    let stub = registry(&secret_image()).await;
    stub.put("library/base", "1", with("base"));
    stub.put("library/app", "1", with("app"));
    stub.put(PRIVATE, "base", with("private"));
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"";
    let docxy = Cached::built(stub, move |app| app.config(config)).await;
    let path = |repository: &str| format!("/v2/{repository}/blobs/{}", layer.digest);
    let nobody = docxy.client();
    nobody
        .get(&path("library/base"))
        .await
        .assert_is(&layer, &docxy.stub);
    docxy.stored(&layer).await;
    docxy.stub.forget();
    // Known here, not there: the upstream is asked for exactly that pair.
    nobody
        .get(&path("library/app"))
        .await
        .assert_is(&layer, &docxy.stub);
    let asked = docxy.stub.count(&path("library/app"));
    assert!(
        asked >= 1,
        "served without the upstream's word: {}",
        docxy.stub.story()
    );
    let denied = nobody.get(&path(PRIVATE)).await;
    assert!(denied.status >= 400, "{}", denied.status);
    let alice = docxy.client().login("alice", "alice-password");
    alice.get(&path(PRIVATE)).await.assert_is(&layer, &docxy.stub);
    docxy.stub.forget();
    nobody
        .get(&path("library/app"))
        .await
        .assert_is(&layer, &docxy.stub);
    assert_eq!(
        docxy.stub.requests().len(),
        0,
        "asked twice: {}",
        docxy.stub.story()
    );
    let copies = docxy.folder().blobs().len();
    println!("S5 a layer in three repositories: {asked} question for the second, {copies} copy on disk");
    assert_eq!(copies, 1);

    // Down: linked in a repository that was proved public, it may be had; never through the private one.
    docxy.stub.down().await;
    nobody
        .get(&path("library/base"))
        .await
        .assert_is(&layer, &docxy.stub);
    // What is public may then come by any name; a private repository's tells no more than one that does not exist.
    let (private, missing) = (
        nobody.get(&path(PRIVATE)).await,
        nobody.get(&path("acme/none")).await,
    );
    assert_eq!(private.status, missing.status);
}

#[tokio::test]
async fn a_follower_needs_the_right_as_much_as_a_hit() {
    // While alice's layer still arrives, bob and nobody ask for it: they are no followers.
    use crate::support::stub::{Fault, Gate, On};
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    let layer = secret.layer_blobs()[0].clone();
    let path = format!("/v2/{PRIVATE}/blobs/{}", layer.digest);
    let gate = Gate::after(9000);
    docxy.stub.fault(On::get(&path), Fault::Body(gate.clone()));
    let pulling = tokio::spawn({
        let path = path.clone();
        async move { alice.get(&path).await }
    });
    gate.held().await;
    let (mut tried, mut bytes) = (0, 0);
    for who in [docxy.client(), docxy.client().login("bob", "bob-password")] {
        for repository in [PRIVATE, "library/redis", "bob/own"] {
            let path = format!("/v2/{repository}/blobs/{}", layer.digest);
            let answer = who.get(&path).await;
            tried += 1;
            bytes += leaked(&answer, &layer);
            assert!(answer.status >= 400, "{path}: {}", answer.status);
        }
    }
    gate.open();
    pulling.await.unwrap().assert_is(&layer, &docxy.stub);
    println!("S5 an arriving private layer: {bytes} bytes to others in {tried} requests");
    assert_eq!(bytes, 0);
}
