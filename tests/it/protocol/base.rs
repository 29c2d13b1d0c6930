//! The edges of the API: `/v2/`, what is no part of it, verbs that are not for pulling, the catalogue.

use crate::support::{
    client::Request,
    image::Image,
    single::{MANIFEST, Single},
    stub::{Auth, StubRegistry},
};

#[tokio::test]
async fn v2_says_that_this_is_a_registry() {
    // Clients decide by this header whether to go on at all; `/v2` without a slash is asked too (P1).
    let one = Single::sound().await;
    let token = one.anonymous_token().await;
    for path in ["/v2/", "/v2"] {
        for method in ["GET", "HEAD"] {
            let answer = one.send(Request::new(method, path).bearer(&token)).await;
            answer.assert_status(&[200], &one.stub);
            assert_eq!(
                answer.header("docker-distribution-api-version"),
                Some("registry/2.0")
            );
            let bare = one.send(Request::new(method, path)).await;
            assert_eq!(bare.status, 401, "{}", bare.everything());
            assert_eq!(
                bare.header("docker-distribution-api-version"),
                Some("registry/2.0")
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_part_of_the_api_is_clear_json() {
    // Old clients try /v1; people try the address in a browser; scanners try everything (P8).
    let one = Single::sound().await;
    let paths = [
        "/v1/",
        "/v1/_ping",
        "/v1/search?q=redis",
        "/v2/library/redis",
        "/v2/library/redis/tags",
        "/v2/library/redis/manifests",
        "/v2/x",
        "/v3/",
        "/unknown",
        "/v2/library/redis/unknown/7",
        "/v2/library/redis/blobs",
    ];
    for path in paths {
        let answer = one.get(path).await;
        answer.assert_status(&[404], &one.stub);
        answer.oci_error();
        assert_eq!(one.stub.requests().len(), 0, "{path}: {}", one.stub.story());
    }
}

#[tokio::test]
async fn pushing_is_refused_as_the_specification_says() {
    // Push is off by default: 405 with an OCI error, and no upstream hears of it (P7, S15).
    let one = Single::sound().await;
    let digest = one.image().digest().to_owned();
    let vectors = [
        ("PUT", "/v2/library/redis/manifests/8".to_owned()),
        ("DELETE", MANIFEST.to_owned()),
        ("POST", "/v2/library/redis/blobs/uploads/".to_owned()),
        (
            "POST",
            format!("/v2/library/redis/blobs/uploads/?mount={digest}&from=a/b"),
        ),
        ("PATCH", "/v2/library/redis/blobs/uploads/1234".to_owned()),
        (
            "PUT",
            format!("/v2/library/redis/blobs/uploads/1234?digest={digest}"),
        ),
        ("GET", "/v2/library/redis/blobs/uploads/1234".to_owned()),
        ("DELETE", format!("/v2/library/redis/blobs/{digest}")),
        ("POST", "/v2/".to_owned()),
        ("PUT", "/v2/library/redis/tags/list".to_owned()),
        ("OPTIONS", MANIFEST.to_owned()),
        ("TRACE", MANIFEST.to_owned()),
        ("PROPFIND", MANIFEST.to_owned()),
    ];
    for (method, path) in &vectors {
        let answer = one.send(Request::new(method, &**path)).await;
        answer.assert_refused(405, &["UNSUPPORTED"], "", &one.stub);
    }
    println!(
        "S15: {} verbs and paths, {} reached the upstream",
        vectors.len(),
        one.stub.requests().len()
    );
    assert_eq!(one.stub.requests().len(), 0, "{}", one.stub.story());
}

#[tokio::test]
async fn the_catalogue_is_only_for_those_with_their_own_right() {
    // docxy's own credentials must not list a company's images to anyone who asks.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("robot", "robot-password")
        .image("secret/project", "1", Image::layers(1));
    let one = Single::built(stub, |app| app.configured("docker.io", "robot", "robot-password")).await;
    let answer = one.get("/v2/_catalog").await;
    assert!(answer.status >= 400, "{}", answer.everything());
    assert!(!answer.text().contains("secret/project"), "{}", answer.text());

    // Passed through: with a token of the client's own it is the upstream's answer.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .image("secret/project", "1", Image::layers(1));
    let one = Single::start(stub, "").await;
    let denied = one.get("/v2/_catalog").await;
    assert!([401, 403].contains(&denied.status), "{}", denied.everything());
    let answer = one
        .client()
        .login("alice", "alice-password")
        .token(&one.realm(), &["registry:catalog:*"])
        .await;
    let token = crate::support::puller::token_in(&answer);
    let listed = one.client().ask_with("/v2/_catalog", &token).await;
    listed.assert_status(&[200], &one.stub);
    assert!(listed.text().contains("secret/project"), "{}", listed.text());
}

#[tokio::test]
async fn liveness_is_answered_without_any_upstream() {
    // Load balancers and kubelets ask these every few seconds (O2).
    let one = Single::sound().await;
    for (path, status) in [
        ("/health", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/generate_204", 204),
    ] {
        let answer = one.get(path).await;
        answer.assert_status(&[status], &one.stub);
    }
    assert_eq!(one.stub.connections(), 0, "{}", one.stub.story());
}
