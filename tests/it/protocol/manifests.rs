//! Manifests: byte for byte what the upstream has, under the digest that names them, or an error.

use crate::support::{
    client::Request,
    image::{DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST, noise, sha512},
    puller::ACCEPT,
    single::{MANIFEST, Single},
    stub::{Fault, On, Quirk, StubRegistry},
};

#[tokio::test]
async fn every_kind_of_manifest_arrives_unchanged() {
    // The bytes are the digest: nothing may be re-serialised, trimmed or converted.
    let images = [
        ("docker", Image::layers(3).build()),
        ("oci", Image::layers(3).oci().seed(2).build()),
        (
            "list",
            Image::layers(1)
                .platforms(&["amd64", "arm64", "s390x"])
                .seed(3)
                .build(),
        ),
        (
            "index",
            Image::layers(1)
                .oci()
                .platforms(&["amd64", "arm64"])
                .seed(4)
                .build(),
        ),
        (
            "artifact",
            Image::artifact(
                "application/vnd.example.sbom",
                &Image::layers(1).build().root,
                "sbom",
            ),
        ),
        (
            "helm",
            Image::raw(
                "application/vnd.example.unheard-of.v1+json",
                "{\"any\":\n\n 1}  \n",
            ),
        ),
    ];
    let mut stub = StubRegistry::builder();
    for (tag, image) in &images {
        stub = stub.image("library/redis", tag, image.clone());
    }
    let one = Single::start(stub, "").await;
    for (tag, image) in &images {
        for manifest in image.children.iter().chain([&image.root]) {
            let path = format!("/v2/library/redis/manifests/{}", manifest.digest);
            let answer = one
                .send(Request::get(path).header("Accept", &*manifest.media_type))
                .await;
            answer.assert_is(manifest, &one.stub);
            assert_eq!(
                answer.header("content-type"),
                Some(&*manifest.media_type),
                "{tag}"
            );
        }
        let path = format!("/v2/library/redis/manifests/{tag}");
        let answer = one.send(Request::get(path).header("Accept", "*/*")).await;
        answer.assert_is(&image.root, &one.stub);
    }
}

#[tokio::test]
async fn accept_lines_go_through_as_they_came() {
    // dockerd sends six, in random order; the upstream's choice must be the one it would have made for the client.
    let one = Single::sound().await;
    let mut lines = ACCEPT.to_vec();
    for turn in 0..ACCEPT.len() {
        lines.rotate_left(1);
        one.stub.forget();
        let request = lines.iter().fold(Request::get(MANIFEST), |request, line| {
            request.header("Accept", *line)
        });
        one.send(request).await.assert_status(&[200], &one.stub);
        let seen = one.stub.gets(MANIFEST).pop().expect("the manifest was asked for");
        let arrived: Vec<&str> = seen
            .lines("accept")
            .iter()
            .flat_map(|line| line.split(", "))
            .collect();
        assert_eq!(arrived, lines, "turn {turn}: {}", one.stub.story());
    }
    one.stub.forget();
    let joined = format!("{OCI_MANIFEST}, {DOCKER_MANIFEST};q=0.5, */*;q=0.1");
    one.send(Request::get(MANIFEST).header("Accept", &*joined)).await;
    let seen = one.stub.gets(MANIFEST).pop().expect("the manifest was asked for");
    assert_eq!(seen.lines("accept"), [joined], "{}", one.stub.story());
}

#[tokio::test]
async fn a_body_that_is_not_what_the_digest_says_is_never_an_answer() {
    // A proxy that passes wrong bytes makes its clients fail later, or not at all (I1).
    let one = Single::sound().await;
    let image = one.image();
    let path = format!("/v2/library/redis/manifests/{}", image.digest());
    let faults = [Fault::WrongByteAt(20), Fault::Truncated(100), Fault::Truncated(0)];
    for fault in faults {
        one.stub.clear_faults();
        one.stub.fault(On::get("*/manifests/*"), fault.clone());
        let answer = one.get(&path).await;
        answer.assert_refused(
            502,
            &["MANIFEST_INVALID", "DIGEST_INVALID", "UNAVAILABLE", "UNKNOWN"],
            "docker.io",
            &one.stub,
        );
    }
    one.stub.clear_faults();
    one.get(&path).await.assert_is(&image.root, &one.stub);
}

#[tokio::test]
async fn a_list_rewritten_into_schema_1_is_refused_by_digest() {
    // docker-registry 2.8 does so when no Accept line matches; the client asked for a digest and must get that or an error.
    let stub = StubRegistry::builder().quirk(Quirk::Schema1);
    let one = Single::with(stub).await;
    let path = format!("/v2/library/redis/manifests/{}", one.image().digest());
    let answer = one.send(Request::get(path).header("Accept", OCI_INDEX)).await;
    answer.assert_status(&[502, 404], &one.stub);
    answer.oci_error();
}

#[tokio::test]
async fn a_digest_header_that_lies_is_not_passed_on() {
    // Clients pin what this header says.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::WrongDigest)).await;
    let answer = one.get(MANIFEST).await;
    answer.assert_status(&[200, 502], &one.stub);
    if answer.status == 200 {
        answer.assert_is(&one.image().root, &one.stub);
    }
}

#[tokio::test]
async fn a_missing_digest_header_is_supplied() {
    // The specification says MUST; containerd asks again without it.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::NoDigest)).await;
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
}

#[tokio::test]
async fn a_manifest_without_length_gets_one() {
    // A chunked manifest has been read whole before it is answered, so its length is known.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::Chunked)).await;
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
}

#[tokio::test]
async fn a_manifest_cut_short_is_an_error_with_or_without_length() {
    // Half a manifest is no manifest, and a 200 cannot be taken back: so it is read before it is answered.
    let one = Single::sound().await;
    one.stub.fault(On::get("*/manifests/*"), Fault::CutAt(50));
    one.get(MANIFEST).await.assert_refused(
        502,
        &["UNAVAILABLE", "MANIFEST_INVALID", "UNKNOWN"],
        "docker.io",
        &one.stub,
    );
    let one = Single::with(StubRegistry::builder().quirk(Quirk::Chunked)).await;
    one.stub.fault(On::get("*/manifests/*"), Fault::CutAt(50));
    one.get(MANIFEST).await.assert_refused(
        502,
        &["UNAVAILABLE", "MANIFEST_INVALID", "UNKNOWN"],
        "docker.io",
        &one.stub,
    );
}

#[tokio::test]
async fn ambiguous_manifests_are_refused() {
    // CVE-2021-41190: bytes that are an index to one client and an image to another.
    let digest = noise_digest();
    let entry = format!("{{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{digest}\",\"size\":3}}");
    let both = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[{entry}],\"config\":{entry},\"layers\":[{entry}]}}"
    );
    let differs = format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[]}}");
    let deep = format!(
        "{{\"schemaVersion\":2,\"x\":{}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let vectors = [
        (OCI_INDEX, both.clone()),
        (OCI_MANIFEST, both),
        (OCI_MANIFEST, differs),
        (OCI_MANIFEST, deep),
    ];
    for (media_type, text) in vectors {
        let one = Single::sound().await;
        one.stub.put("library/redis", "odd", Image::raw(media_type, text));
        let answer = one.get("/v2/library/redis/manifests/odd").await;
        answer.assert_refused(502, &["MANIFEST_INVALID", "UNAVAILABLE"], "docker.io", &one.stub);
    }
}

fn noise_digest() -> String {
    crate::support::image::sha256(&noise(1, 10))
}

#[tokio::test]
async fn four_mebibytes_pass_and_more_is_an_error() {
    // The specification wants at least 4 MiB; an endless manifest must not fill the memory (I9).
    let one = Single::sound().await;
    let sized = |length: usize| {
        let front = format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"x\":\"");
        let fill = "x".repeat(length - front.len() - 2);
        Image::raw(OCI_MANIFEST, format!("{front}{fill}\"}}"))
    };
    let largest = one.stub.put("library/redis", "large", sized(4 << 20));
    one.get("/v2/library/redis/manifests/large")
        .await
        .assert_is(&largest.root, &one.stub);
    one.stub.put("library/redis", "huge", sized((4 << 20) + 1));
    let answer = one.get("/v2/library/redis/manifests/huge").await;
    // Whose fault it is, is clear (the upstream's); the size is what the message must tell.
    answer.assert_status(&[502, 413], &one.stub);
    answer.oci_error();
}

#[tokio::test]
async fn a_manifest_that_calls_itself_a_web_page_is_refused_or_repaired() {
    // Captive portals answer 200 and HTML; a browser must never run what stands on /v2 (S11).
    let one = Single::with(StubRegistry::builder().quirk(Quirk::BadContentType)).await;
    let answer = one.get(MANIFEST).await;
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(!kind.contains("html"), "{}", answer.everything());
    one.stub.fault(
        On::path("*"),
        Fault::Answer {
            status: 200,
            headers: vec![("content-type", "text/html".into())],
            body: "<html>Sign in to the hotel's network</html>".into(),
        },
    );
    let answer = one.get(MANIFEST).await;
    answer.assert_status(&[502], &one.stub);
    answer.oci_error();
}

#[tokio::test]
async fn sha512_is_a_digest_too() {
    // The specification names two algorithms; both are verified.
    let one = Single::sound().await;
    let image = one.image();
    let digest = sha512(&image.root.bytes);
    let answer = |body: &[u8]| Fault::Answer {
        status: 200,
        headers: vec![("content-type", DOCKER_MANIFEST.into())],
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let path = format!("/v2/library/redis/manifests/{digest}");
    one.stub.fault(On::path("*sha512*"), answer(&image.root.bytes));
    let right = one.get(&path).await;
    right.assert_status(&[200], &one.stub);
    assert_eq!(right.body, image.root.bytes);
    one.stub
        .fault(On::path("*sha512*"), answer(b"{\"schemaVersion\":2}"));
    one.get(&path).await.assert_status(&[502], &one.stub);
}

#[tokio::test]
async fn malformed_references_never_reach_the_upstream() {
    // Where an upstream is sloppy docxy is not: 400 with the right code.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::AnyDigest)).await;
    let digest = one.image().digest().to_owned();
    let vectors = [
        (format!("manifests/{}", digest.to_uppercase()), "DIGEST_INVALID"),
        (format!("manifests/{}", &digest[..70]), "DIGEST_INVALID"),
        (format!("manifests/{digest}0"), "DIGEST_INVALID"),
        (
            format!("manifests/{}", digest.replace("sha256", "md5")),
            "DIGEST_INVALID",
        ),
        (
            format!("blobs/{}", digest.replace("sha256", "sha512")),
            "DIGEST_INVALID",
        ),
        ("blobs/latest".to_owned(), "DIGEST_INVALID"),
        ("blobs/sha256:".to_owned(), "DIGEST_INVALID"),
        (format!("referrers/{}", &digest[..50]), "DIGEST_INVALID"),
        (format!("manifests/{}", "a".repeat(129)), "TAG_INVALID"),
        ("manifests/-a".to_owned(), "TAG_INVALID"),
    ];
    for (path, code) in vectors {
        let answer = one.get(&format!("/v2/library/redis/{path}")).await;
        // A tag that cannot be is MANIFEST_INVALID or MANIFEST_UNKNOWN with some registries; the status is what matters.
        answer.assert_refused(400, &[code, "MANIFEST_INVALID"], "", &one.stub);
    }
    assert_eq!(one.stub.requests().len(), 0, "{}", one.stub.story());
}

#[tokio::test]
async fn a_client_that_has_it_gets_304() {
    // Conditional requests spare the body (P3).
    let one = Single::sound().await;
    let etag = one
        .get(MANIFEST)
        .await
        .header("etag")
        .expect("an ETag")
        .to_owned();
    let answer = one
        .send(
            Request::get(MANIFEST)
                .header("Accept", "*/*")
                .header("If-None-Match", etag),
        )
        .await;
    answer.assert_status(&[304], &one.stub);
    assert_eq!(answer.body.len(), 0);
}
