//! The stub's contents: images, tags, referrers, the CDN, TLS, and the record of what was asked.

use std::{sync::Arc, time::Duration};

use super::{layer_path, open_stub};
use crate::support::{
    ca::TestCa,
    client::Request,
    image::{self, Image, OCI_INDEX, sha256},
    puller::Puller,
    stub::{Cdn, LinkForm, Quirk, StubRegistry},
};

#[tokio::test]
async fn images_are_what_their_digests_say() {
    // Whoever compares digests in a test must be able to trust the recipe: every descriptor names bytes that exist.
    for recipe in [
        Image::layers(3),
        Image::layers(2).oci().platforms(&["amd64", "arm64"]),
        Image::layers(1).platforms(&["amd64"]),
    ] {
        let image = recipe.build();
        assert_eq!(
            image.digest(),
            recipe.build().digest(),
            "the same recipe gave other bytes"
        );
        for content in image.blobs.iter().chain(&image.children).chain([&image.root]) {
            assert_eq!(content.digest, sha256(&content.bytes));
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(&content.bytes) else {
                continue;
            };
            let below = json["layers"]
                .as_array()
                .into_iter()
                .chain(json["manifests"].as_array())
                .flatten();
            for entry in below.chain(json.get("config").filter(|config| config.get("digest").is_some())) {
                let known = image
                    .blobs
                    .iter()
                    .chain(&image.children)
                    .any(|own| entry["digest"] == own.digest);
                assert!(known, "{entry} of {} is nowhere", content.digest);
            }
        }
    }
    assert_ne!(
        Image::layers(1).build().digest(),
        Image::layers(1).seed(2).build().digest()
    );
}

#[tokio::test]
async fn the_cdn_refuses_credentials_and_old_links() {
    // The CDN of Docker Hub answers 400 to a token and 403 to an old signature: both must be felt here too.
    let stub = StubRegistry::builder()
        .image("a/b", "1", Image::layers(1))
        .cdn(
            Cdn::on("127.0.0.2")
                .code(302)
                .hops(2)
                .life(Duration::from_mins(1)),
        )
        .start()
        .await;
    let path = layer_path("a/b", &stub.image("a/b", "1"));
    let first = Request::get(&*path).send(stub.addr()).await;
    assert_eq!(first.status, 302);
    let follow = |location: &str| {
        location
            .split_once(&stub.cdn_addr().to_string())
            .unwrap()
            .1
            .to_owned()
    };
    let first = follow(first.header("location").unwrap());
    assert_eq!(
        Request::get(&*first)
            .bearer("token")
            .send(stub.cdn_addr())
            .await
            .status,
        400
    );
    assert_eq!(
        Request::get(first.replace("Signature=", "Signature=0"))
            .send(stub.cdn_addr())
            .await
            .status,
        403
    );
    let hop = Request::get(&*first).send(stub.cdn_addr()).await;
    let second = follow(hop.header("location").unwrap());
    let bytes = Request::get(&*second).send(stub.cdn_addr()).await;
    assert_eq!(sha256(&bytes.body), path.rsplit_once('/').unwrap().1);
    stub.advance(Duration::from_secs(61));
    assert_eq!(Request::get(&*second).send(stub.cdn_addr()).await.status, 403);
    assert!(
        stub.signatures()
            .iter()
            .any(|signature| second.contains(signature))
    );

    let near = StubRegistry::builder()
        .image("k/s", "1", Image::layers(1))
        .cdn(Cdn::relative().manifests())
        .start()
        .await;
    let link = Request::get("/v2/k/s/manifests/1").send(near.addr()).await;
    let location = link.header("location").unwrap();
    assert!(location.starts_with("/cdn/"), "{location}");
    assert_eq!(
        sha256(&Request::get(location).send(near.addr()).await.body),
        near.image("k/s", "1").digest()
    );
}

#[tokio::test]
async fn tags_come_in_pages_of_every_shape() {
    // Relative, absolute and opaque links exist in the wild; docxy must rewrite them all.
    for form in [LinkForm::Relative, LinkForm::Absolute, LinkForm::Opaque] {
        let mut builder = StubRegistry::builder().pages(2, form);
        for tag in ["a", "b", "c", "d", "e"] {
            builder = builder.image("x/y", tag, Image::layers(1));
        }
        let stub = builder.start().await;
        let (mut path, mut tags, mut pages) = ("/v2/x/y/tags/list".to_owned(), Vec::new(), 0);
        loop {
            let page = Request::get(&*path).send(stub.addr()).await;
            let names = page.json()["tags"].as_array().unwrap().clone();
            tags.extend(names.iter().map(|tag| tag.as_str().unwrap().to_owned()));
            pages += 1;
            let Some(link) = page.header("link") else { break };
            let target = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
            path = target.strip_prefix(&stub.url()).unwrap_or(target).to_owned();
        }
        assert_eq!((tags.join(""), pages), ("abcde".to_owned(), 3), "{form:?}");
        stub.untag("x/y", "a");
        let rest = Request::get("/v2/x/y/tags/list?n=1").send(stub.addr()).await;
        assert_eq!(rest.json()["tags"], serde_json::json!(["b"]));
    }
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_tag() {
    // Old registries have no referrers API; clients keep an index under a tag there.
    let subject = Image::layers(1).oci().build();
    let signature = Image::artifact("application/vnd.example.signature", &subject.root, "signed");
    let path = format!("/v2/a/b/referrers/{}", subject.digest());
    for (quirk, status, tagged) in [(Quirk::TagsUnpaged, 200, 404), (Quirk::NoReferrers, 404, 200)] {
        let stub = StubRegistry::builder()
            .quirk(quirk)
            .image("a/b", "1", subject.clone())
            .image("a/b", "signature", signature.clone())
            .start()
            .await;
        let answer = Request::get(format!("{path}?artifactType=application/vnd.example.signature"));
        let answer = answer.send(stub.addr()).await;
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(answer.json()["manifests"][0]["digest"], signature.digest());
            assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
        }
        let tag = subject.digest().replace(':', "-");
        let fallback = Request::get(format!("/v2/a/b/manifests/{tag}"))
            .send(stub.addr())
            .await;
        assert_eq!(fallback.status, tagged);
        if tagged == 200 {
            assert_eq!(fallback.header("content-type"), Some(OCI_INDEX));
            assert_eq!(fallback.json()["manifests"][0]["digest"], signature.digest());
        }
    }
}

#[tokio::test]
async fn it_speaks_tls_to_those_who_trust_its_authority() {
    // Upstreams are https; a stub that only spoke http would leave that road untested.
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder()
        .tls(&ca)
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    assert!(stub.url().starts_with("https://"));
    let ping = |name: &str| Request::get("/v2/").tls(stub.ca().unwrap().client(), name);
    assert_eq!(ping("127.0.0.1").send(stub.addr()).await.status, 200);
    assert!(ping("elsewhere.example").try_open(stub.addr()).await.is_err());
    assert!(
        Request::get("/v2/")
            .tls(TestCa::new().client(), "127.0.0.1")
            .try_open(stub.addr())
            .await
            .is_err()
    );
    assert_eq!(stub.connections(), 3);
    let named = StubRegistry::builder()
        .tls(&ca)
        .certificate_names(&["registry.test"])
        .start()
        .await;
    let ping = |name: &str| Request::get("/v2/").tls(ca.client(), name);
    assert_eq!(ping("registry.test").send(named.addr()).await.status, 200);
    assert!(ping("127.0.0.1").try_open(named.addr()).await.is_err());
}

#[tokio::test]
async fn the_log_of_requests_can_be_read_and_forgotten() {
    // A failure must be able to tell the whole story.
    let (stub, _) = open_stub().await;
    Puller::at(stub.addr())
        .ns("ghcr.io")
        .ask("/v2/a/b/manifests/1")
        .await;
    Request::head("/v2/a/b/tags/list")
        .header("Cookie", "a=b")
        .send(stub.addr())
        .await;
    assert_eq!(stub.gets("/v2/*/manifests/*")[0].params("ns"), ["ghcr.io"]);
    assert_eq!(stub.gets("/v2/*/manifests/*")[0].lines("accept").len(), 6);
    assert_eq!(
        (stub.heads("*").len(), stub.count("*"), stub.tally().len()),
        (1, 2, 2)
    );
    assert_eq!(stub.secrets_seen(), ["a=b"]);
    assert!(
        stub.story().contains("GET /v2/a/b/manifests/1?ns=ghcr.io"),
        "{}",
        stub.story()
    );
    stub.forget();
    assert_eq!(stub.requests().len(), 0);
    stub.put("a/b", "2", Image::raw("application/json", image::noise(1, 10)));
    assert_eq!(
        Request::get("/v2/a/b/manifests/2")
            .send(stub.addr())
            .await
            .body
            .len(),
        10
    );
}
