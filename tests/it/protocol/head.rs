//! HEAD: what containerd asks first, and what costs no quota as long as it stays a HEAD (P4).

use crate::support::{
    app::TestApp,
    client::{Request, Response},
    image::{Content, Image, OCI_LAYER, noise},
    single::{MANIFEST, Single},
    stub::{Cdn, Fault, On, Quirk, StubRegistry},
};

/// What the specification demands of a HEAD: digest and length; and what HTTP does: no body.
#[track_caller]
fn assert_complete(answer: &Response, one: &Single) {
    answer.assert_status(&[200], &one.stub);
    let root = one.image().root;
    assert_eq!(
        answer.header("docker-content-digest"),
        Some(&*root.digest),
        "{}",
        one.stub.story()
    );
    let length = root.bytes.len().to_string();
    assert_eq!(
        answer.header("content-length"),
        Some(&*length),
        "{}",
        one.stub.story()
    );
    assert_eq!(
        answer.header("content-type"),
        Some(&*root.media_type),
        "{}",
        one.stub.story()
    );
    assert_eq!(answer.body.len(), 0);
}

#[tokio::test]
async fn head_stays_head() {
    // A HEAD turned into a GET costs every user of docxy a pull of the quota.
    let one = Single::sound().await;
    let by_digest = format!("/v2/library/redis/manifests/{}", one.image().digest());
    for path in [MANIFEST, &by_digest] {
        assert_complete(&one.head(path).await, &one);
    }
    assert_eq!(one.stub.gets("*/manifests/*").len(), 0, "{}", one.stub.story());
    assert_eq!(one.stub.heads("*/manifests/*").len(), 2, "{}", one.stub.story());
}

#[tokio::test]
async fn a_head_that_lacks_something_is_repaired_by_one_get() {
    // Without length or digest containerd GETs again, docker 29 refuses.
    for quirk in [
        Quirk::HeadManifestWithoutLength,
        Quirk::HeadManifestWithoutDigest,
        Quirk::NoDigest,
        Quirk::Chunked,
    ] {
        let one = Single::with(StubRegistry::builder().quirk(quirk)).await;
        assert_complete(&one.head(MANIFEST).await, &one);
        assert!(
            one.stub.gets("*/manifests/*").len() <= 1,
            "{quirk:?}: {}",
            one.stub.story()
        );
    }
}

#[tokio::test]
async fn a_head_of_what_is_missing_is_404_without_a_get() {
    // A miss must not cost quota either.
    let one = Single::sound().await;
    let answer = one.head("/v2/library/redis/manifests/none").await;
    answer.assert_status(&[404], &one.stub);
    assert_eq!(answer.body.len(), 0);
    assert_eq!(one.stub.gets("*/manifests/*").len(), 0, "{}", one.stub.story());
}

#[tokio::test]
async fn head_of_a_blob_tells_its_length() {
    // podman and crane ask before they fetch.
    for stub in [
        StubRegistry::builder(),
        StubRegistry::builder().cdn(Cdn::on("127.0.0.2")),
    ] {
        let one = Single::with(stub).await;
        let (layer, path) = one.layer();
        let answer = one.head(&path).await;
        answer.assert_status(&[200], &one.stub);
        let length = layer.bytes.len().to_string();
        assert_eq!(
            answer.header("content-length"),
            Some(&*length),
            "{}",
            one.stub.story()
        );
        assert_eq!(
            answer.header("docker-content-digest"),
            Some(&*layer.digest),
            "{}",
            one.stub.story()
        );
    }
}

#[tokio::test]
async fn a_blob_is_never_asked_for_by_head_before_its_get() {
    // Harbor says 404 to a HEAD of what it has not fetched yet; a GET would have worked.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::HeadBlobMissing)).await;
    let (layer, path) = one.layer();
    one.get(&path).await.assert_is(&layer, &one.stub);
    assert_eq!(one.stub.heads("*/blobs/*").len(), 0, "{}", one.stub.story());
}

#[tokio::test]
async fn a_head_of_a_blob_works_before_harbor() {
    // buildkit and podman look whether a blob is there: behind Harbor every cold one would be missing, and be pushed or built
    // again. One byte is fetched instead, also of an empty blob and where ranges are ignored.
    for (quirks, size) in [
        (vec![Quirk::HeadBlobMissing], 20_000),
        (vec![Quirk::HeadBlobMissing], 0),
        (vec![Quirk::HeadBlobMissing, Quirk::IgnoreRange], 20_000),
    ] {
        for cache in ["off", "disk"] {
            let mut stub = StubRegistry::builder();
            for quirk in &quirks {
                stub = stub.quirk(*quirk);
            }
            let layer = Content::new(OCI_LAYER, noise(77, size));
            let mut image = Image::layers(1).build();
            image.blobs.push(layer.clone());
            let stub = stub.image("library/redis", "7", image).start().await;
            let app = TestApp::builder()
                .registry("docker.io", &stub)
                .config(&format!("[cache]\nmode = {cache:?}"))
                .start()
                .await;
            let path = format!("/v2/library/redis/blobs/{}", layer.digest);
            let answer = Request::head(&*path).send(app.addr()).await;
            answer.assert_status(&[200], &stub);
            assert_eq!(
                answer.header("content-length"),
                Some(&*size.to_string()),
                "{quirks:?} {cache}"
            );
            assert_eq!(answer.header("content-range"), None);
            assert_eq!(stub.heads("*/blobs/*").len(), 0, "{}", stub.story());
            let missing = format!("/v2/library/redis/blobs/sha256:{}", "0".repeat(64));
            let answer = Request::head(&*missing).send(app.addr()).await;
            answer.assert_status(&[404], &stub);
        }
    }
}

#[tokio::test]
async fn a_head_that_the_upstream_refuses_is_repaired_by_one_get() {
    // A registry that knows no HEAD, or breaks on it, is no reason to fail: the GET would have worked.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::HeadManifestRefused)).await;
    assert_complete(&one.head(MANIFEST).await, &one);
    let one = Single::sound().await;
    one.stub.fault(On::head("*/manifests/*"), Fault::Status(500));
    // A fault is no quirk: nothing says that the GET would do better, so both readings are accepted.
    let answer = one.head(MANIFEST).await;
    answer.assert_status(&[200, 502], &one.stub);
}
